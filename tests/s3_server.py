"""moto's S3 server, made to create an object at most once: `python tests/s3_server.py PORT`.

moto looks whether an object exists and writes it in two steps, so that two conditional puts at the same time may both succeed.
S3 itself and the stores that speak its language let only one of them, which is what publishing relies on.
"""

import sys
from threading import Lock
from typing import Any

import moto.s3.responses
from moto.server import main

one_put_at_a_time = Lock()
put_object = moto.s3.responses.S3Response.put_object


def put_object_whole(self: moto.s3.responses.S3Response) -> Any:
    with one_put_at_a_time:
        return put_object(self)


if __name__ == "__main__":
    moto.s3.responses.S3Response.put_object = put_object_whole  # type: ignore[method-assign]
    main(["-H", "127.0.0.1", "-p", sys.argv[1]])
