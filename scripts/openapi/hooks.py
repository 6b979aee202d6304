"""What schemathesis must know of this product; see scripts/openapi-check."""

import schemathesis
from hypothesis import strategies as st

# bodies that are bytes
for media_type in ("application/wasm", "application/octet-stream"):
    schemathesis.openapi.media_type(media_type, st.binary(max_size=64))

# functions that fail by themselves: with no JSON form, out of memory, or (the counter) with more than a field can count
FAIL_BY_THEMSELVES = ("/infinity", "/not-a-number", "/join", "/pad", "/increment")
BY_THEMSELVES = ("trap", "memory-limit", "cpu-limit", "wall-limit")


@schemathesis.check
def no_server_error(ctx, response, case):
    """No failure of the server: one that the request itself asked for, or that is the function's own, is none."""
    if response.status_code < 500:
        return
    code = response.json().get("code")
    timeout = int((case.headers or {}).get("X-Request-Timeout-Ms", 10_000))
    if code == "deadline" and timeout < 2_000:
        return
    if code in BY_THEMSELVES and case.path.endswith(FAIL_BY_THEMSELVES):
        return
    raise AssertionError(f"{response.status_code} {code}: {response.text}")
