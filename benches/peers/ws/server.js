// The package ws: the sockets of each path are a set, and what one says is sent to every member.
import { WebSocketServer } from "ws";

const groups = new Map();

function groupOf(path) {
  if (!groups.has(path)) {
    groups.set(path, new Set());
  }
  return groups.get(path);
}

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  backlog: 4096,
  perMessageDeflate: false,
});

server.on("connection", (socket, request) => {
  socket.on("error", () => socket.terminate());
  if (request.url === "/echo") {
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
    return;
  }
  const group = groupOf(request.url);
  group.add(socket);
  socket.on("close", () => group.delete(socket));
  socket.on("message", (data, isBinary) => {
    for (const member of group) {
      member.send(data, { binary: isBinary });
    }
  });
});
