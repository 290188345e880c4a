"""A server for the tests of images, by HTTPS: files of a directory, in parts where somebody asks for a part, and a
registry whose images are an OCI layout in its directory `layout`.

Arguments: directory, certificate, key, account (NAME:PASSWORD or nothing). Prints its port, and every request."""
import base64, http.server, json, os, ssl, sys, urllib.parse

ROOT, CERTIFICATE, KEY, ACCOUNT = sys.argv[1:5]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        print(self.path, self.headers.get("Range", ""), flush=True)
        path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
        if path == "/token":
            wanted = "Basic " + base64.b64encode(ACCOUNT.encode()).decode()
            if ACCOUNT and self.headers.get("Authorization") != wanted:
                return self.answer(401)
            return self.answer(200, json.dumps({"token": "ticket"}).encode())
        if path.startswith("/v2/"):
            return self.registry(path.split("/"))
        try:
            with open(ROOT + path, "rb") as f:
                body = f.read()
        except OSError:
            return self.answer(404)
        part = self.headers.get("Range")
        if part:
            at = int(part.split("=")[1].split("-")[0])
            if at >= len(body):
                return self.answer(416)
            return self.answer(206, body[at:])
        # A file that says so is cut off in the middle, once.
        if os.path.exists(ROOT + path + ".cut"):
            os.remove(ROOT + path + ".cut")
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self.answer(200, body)

    def registry(self, words):
        if self.headers.get("Authorization") != "Bearer ticket":
            port = self.server.server_address[1]
            challenge = 'Bearer realm="https://localhost:%d/token",service="test",scope="repository:x:pull"' % port
            return self.answer(401, WWW_Authenticate=challenge)
        kind, what = words[-2], words[-1]
        layout = ROOT + "/layout/"
        if kind == "manifests" and not what.startswith("sha256:"):
            with open(layout + "index.json") as f:
                index = json.load(f)
            named = [m for m in index["manifests"] if m.get("annotations", {}).get("org.opencontainers.image.ref.name") == what]
            if not named:
                return self.answer(404)
            what = named[0]["digest"]
        try:
            with open(layout + "blobs/" + what.replace(":", "/"), "rb") as f:
                body = f.read()
        except OSError:
            return self.answer(404)
        self.answer(200, body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, KEY)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
