"""A client of oprc in Python that speaks Zenoh: calls, reads, events and errors on the mesh itself, without a gateway's port.

Run by `run-mesh.sh`. Arguments: the mesh endpoint, such as tcp/127.0.0.1:7447; the file with the mesh's secret; the file
with the token of a key.
"""

import json
import queue
import sys

import zenoh


class Refused(Exception):
    """The problem document that came instead of an answer."""

    def __init__(self, problem):
        super().__init__(f"{problem['code']}: {problem['detail']}")
        self.problem = problem


class Client:
    def __init__(self, endpoint, secret, key):
        config = zenoh.Config()
        config.insert_json5("mode", '"client"')
        config.insert_json5("connect/endpoints", json.dumps([endpoint]))
        config.insert_json5("transport/auth/usrpwd", json.dumps({"user": "oprc", "password": secret}))
        self.session = zenoh.open(config)
        self.key = key

    def ask(self, key, payload=b"", encoding="application/json", timeout=10.0, **said):
        """The payload of the answer, and what is said about it. A payload of None is no result."""
        attachment = json.dumps({"key": self.key, "timeout-ms": int(timeout * 1000), **said})
        # a little longer than the call may take: its own error tells more
        replies = self.session.get(
            key, payload=payload, encoding=encoding, attachment=attachment, timeout=timeout + 1.0
        )
        for reply in replies:
            if reply.err is not None:
                raise Refused(json.loads(reply.err.payload.to_bytes()))
            about = json.loads(reply.ok.attachment.to_bytes())
            result = reply.ok.payload.to_bytes()
            encoding = str(reply.ok.encoding)
            if encoding == "application/json":
                return json.loads(result), about
            return (result if encoding == "application/octet-stream" else None), about
        # nobody answers there, or the answer was lost: only under an idempotency key is it safe to ask again
        raise TimeoutError(key)

    def invoke(self, cls, object, method, arguments, **said):
        return self.ask(f"oprc/api/{cls}/objects/{object}/invokes/{method}", json.dumps(arguments), **said)

    def read(self, cls, object, **said):
        return self.ask(f"oprc/api/{cls}/objects/{object}", **said)


def main(endpoint, secret_file, key_file):
    with open(secret_file) as secret, open(key_file) as key:
        client = Client(endpoint, secret.read().strip(), key.read().strip())
    with client.session as session:
        events = queue.Queue()
        watching = session.declare_subscriber("oprc/events/Counter/*", events.put)

        count, about = client.invoke("Counter", "alice", "increment", {"by": 5})
        print("increment:", count, "at version", about["version"])

        # sent twice under one key, it takes effect once
        for _ in range(2):
            count, about = client.invoke("Counter", "alice", "increment", {"by": 2}, **{"idempotency-key": "py-1"})
        assert about["replayed"], about
        print("once:", count)

        found, about = client.read("Counter", "alice")
        print("object:", found, "etag", about["etag"])
        assert found["fields"] == {"count": 7}, found

        for ask in (
            lambda: client.invoke("Counter", "alice", "nothing", {}),
            lambda: client.invoke("Counter", "alice", "increment", {"by": "x"}),
            lambda: client.read("Counter", "*"),
        ):
            try:
                ask()
                raise AssertionError("it is refused")
            except Refused as refused:
                print("refused:", refused)

        # what happened while the subscription was on its way may be missed; go on until something is heard
        while True:
            count, about = client.invoke("Counter", "bob", "increment", {"by": 1})
            try:
                event = events.get(timeout=1.0)
                break
            except queue.Empty:
                continue
        told = json.loads(event.payload.to_bytes())
        assert str(event.encoding) == "application/json", event.encoding
        print("event:", told["object"], "version", told["version"], told["changes"])
        watching.undeclare()


if __name__ == "__main__":
    main(*sys.argv[1:])
