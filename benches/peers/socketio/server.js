// Socket.IO over WebSockets alone: a group is a room that the handshake names, and everybody else hears everything.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });

io.on("connection", (socket) => {
  const { group } = socket.handshake.query;
  if (group !== undefined) {
    socket.join(group);
  }
  socket.on("said", (text) => {
    (group === undefined ? io : io.to(group)).emit("said", text);
  });
  socket.on("echo", (text) => socket.emit("echo", text));
});

http.listen({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });
