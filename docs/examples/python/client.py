"""A client of oprc in Python: calls, objects, a listing, events and errors over gRPC.

Run by `run.sh`, which makes the messages from the .proto files; the server's address is the only argument.
"""

import json
import sys

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from oprc.v1 import call_pb2, event_pb2, event_pb2_grpc, invocation_pb2, invocation_pb2_grpc
from oprc.v1 import object_pb2, object_pb2_grpc


def call(method, arguments, object="alice", **more):
    return invocation_pb2.InvokeRequest(
        call=invocation_pb2.Call(
            class_name="Counter", object=object, method=method, json=json.dumps(arguments), **more
        )
    )


def reason(error):
    """The stable code in a status's details."""
    details = dict(error.trailing_metadata()).get("grpc-status-details-bin")
    status = status_pb2.Status.FromString(details)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info), status
    return info.reason


def main(address):
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert health.status == health_pb2.HealthCheckResponse.SERVING, health
        invocations = invocation_pb2_grpc.InvocationServiceStub(channel)
        objects = object_pb2_grpc.ObjectServiceStub(channel)
        events = event_pb2_grpc.EventServiceStub(channel)

        answer = invocations.Invoke(call("increment", {"by": 5}), timeout=5)
        print("increment:", answer.result.json, "at version", answer.result.version)

        # sent twice under one key, it takes effect once
        for _ in range(2):
            answer = invocations.Invoke(call("increment", {"by": 2}, idempotency_key="py-1"), timeout=5)
        assert answer.replayed
        print("once:", answer.result.json)

        found = objects.Get(object_pb2.GetRequest(class_name="Counter", object="alice"))
        print("fields:", {field.key: field.value for field in found.fields}, "etag", found.state.etag)

        options = object_pb2.WriteOptions(precondition=call_pb2.Precondition(if_match=found.state.etag))
        fields = [call_pb2.Field(key="count", value=b"100")]
        put = object_pb2.PutRequest(class_name="Counter", object="alice", fields=fields, options=options)
        print("put: version", objects.Put(put).result.state.version)
        try:
            objects.Put(put)
            raise AssertionError("an etag of before must not match")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
            print("refused:", reason(error), "-", error.details())

        try:
            invocations.Invoke(call("nothing", {}), timeout=5)
            raise AssertionError("there is no such method")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND, error
            print("refused:", reason(error), "-", error.details())

        pages = objects.List(object_pb2.ListRequest(class_name="Counter"))
        print("objects:", [listed.id for page in pages for listed in page.objects])

        watch = event_pb2.WatchRequest(class_name="Counter", object="alice", since="oldest")
        stream = events.Watch(watch)
        versions = []
        for told in stream:
            if told.WhichOneof("told") == "event":
                versions.append(told.event.version)
                if len(versions) == 3:
                    stream.cancel()
                    break
        assert versions == [1, 2, 3], versions
        print("events: versions", versions)


if __name__ == "__main__":
    main(sys.argv[1])
