"""A collector for tests: takes spans over OTLP/HTTP and remembers which trace they belong to."""

import http.server
import ipaddress
import json
import subprocess
import threading

PORT = 4318


def address():
    """Where containers reach this machine, or None: the gateway of the engine's own bridge."""
    try:
        output = subprocess.check_output(["docker", "network", "inspect", "bridge"], text=True)
        first = json.loads(output)[0]["IPAM"]["Config"][0]
        return first.get("Gateway") or str(ipaddress.ip_network(first["Subnet"])[1])
    except (OSError, subprocess.CalledProcessError, LookupError, ValueError):
        return None


def fields(message):
    """The fields of a protobuf message: numbers, and bytes or integers."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
        else:
            length = {1: 8, 5: 4}.get(kind) or varint()
            yield key >> 3, message[at:at + length]
            at += length


def parts(message, number):
    return [value for field, value in fields(message) if field == number]


def spans(request):
    """(service, trace id, span id, parent, name) of each span of an ExportTraceServiceRequest."""
    for of_resource in parts(request, 1):
        attributes = [dict(fields(pair)) for resource in parts(of_resource, 1) for pair in parts(resource, 1)]
        service = next((dict(fields(pair[2]))[1].decode() for pair in attributes if pair[1] == b"service.name"), "")
        for of_scope in parts(of_resource, 2):
            for span in parts(of_scope, 2):
                one = dict(fields(span))
                yield service, one[1].hex(), one[2].hex(), one.get(4, b"").hex(), one[5].decode()


class Sink:
    """Listens on a thread of its own until the program ends."""

    def __init__(self, host):
        self.lock = threading.Lock()
        self.seen = {}
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with sink.lock:
                    for service, trace, span, parent, name in spans(body):
                        sink.seen.setdefault(trace, []).append((service, span, parent, name))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer((host, PORT), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def joined(self):
        """The services whose answer is the child of a question of the swarm's, in one trace."""
        with self.lock:
            found = set()
            for trace in self.seen.values():
                asked = {span for service, span, _, name in trace if service == "zen-swarm" and name == "zen ask"}
                found |= {service for service, _, parent, name in trace if name == "zen answer" and parent in asked}
            return found
