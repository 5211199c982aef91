"""etcd04.py CERT KEY FOLLOWER-PORT LEADER-PORT: two servers over TLS that answer as etcd 0.4 does where it differs from 2.x: no
/v2/members, a list of machines instead, and writes to a follower redirected to the leader."""
import http.server, json, ssl, sys, threading, urllib.parse

cert, key = sys.argv[1:3]
follower, leader = map(int, sys.argv[3:5])
url = "https://127.0.0.1:%d"
store, index = {}, 2


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, text, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def key(self):
        path = urllib.parse.urlparse(self.path).path
        return path.removeprefix("/v2/keys") if path.startswith("/v2/keys") else None

    def node(self, action, name):
        value, at = store[name]
        node = {"key": name, "value": value, "modifiedIndex": at, "createdIndex": at}
        self.answer(200, json.dumps({"action": action, "node": node}), X_Etcd_Index=str(index))

    def do_GET(self):
        name = self.key()
        if self.path == "/v2/machines":
            self.answer(200, url % follower + ", " + url % leader)
        elif name in store:
            self.node("get", name)
        else:
            self.answer(404, "404 page not found\n")

    def do_PUT(self):
        global index
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.server.server_address[1] == follower:
            return self.answer(307, "", Location=url % leader + self.path)
        index += 1
        store[self.key()] = (urllib.parse.parse_qs(form)["value"][0], index)
        self.node("set", self.key())


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
for port in (follower, leader):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever).start()
print("serving", flush=True)
