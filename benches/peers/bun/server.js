// Bun.serve as its users write it: a socket subscribes to the topic of its path, and what it says is published there.
const topicOf = (request) => new URL(request.url).pathname;

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch(request, server) {
    const upgraded = server.upgrade(request, { data: { topic: topicOf(request) } });
    return upgraded ? undefined : new Response("a WebSocket is needed", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    open(socket) {
      if (socket.data.topic !== "/echo") {
        socket.subscribe(socket.data.topic);
      }
    },
    message(socket, message) {
      if (socket.data.topic === "/echo") {
        socket.send(message);
      } else {
        server.publish(socket.data.topic, message);
      }
    },
  },
});
