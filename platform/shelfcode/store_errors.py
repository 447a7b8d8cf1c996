"""What an object store refuses, in the words of whoever has to set it right; and a quick look at a store before any work.

A store that cannot be used says so in many ways: credentials are missing or wrong, the endpoint is not there, the bucket lies in
another region. Requests to one that does not answer are repeated for minutes, which is right in the middle of a night and wrong at its
start.
"""

import errno
import re

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from fsspec.core import url_to_fs

from shelfcode.errors import ShelfcodeError
from shelfcode.store import is_s3

QUICK = {"retries": {"mode": "standard", "max_attempts": 3}, "connect_timeout": 3, "read_timeout": 10}
"""How a store is looked at: an answer, or none, within seconds."""

NO_CREDENTIALS = (
    "there are no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role gives them"
)
DENIED = "the credentials must be allowed to list, read, write and delete objects there"
WRONG_KEYS = "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary ones, AWS_SESSION_TOKEN to credentials of this store"
REGION = "set AWS_DEFAULT_REGION to the bucket's region, and AWS_ENDPOINT_URL, if it is set, to an endpoint of that region"

NO_STORE = "there is no object store that answers: set AWS_ENDPOINT_URL to its address, or leave it out for Amazon's"

REFUSALS = {
    "AccessDenied": f"access is denied: {DENIED}",
    "InvalidAccessKeyId": f"the store does not know the access key: {WRONG_KEYS}",
    "SignatureDoesNotMatch": f"the secret key does not fit the access key: {WRONG_KEYS}",
    "InvalidToken": f"the session token is not valid: {WRONG_KEYS}",
    "ExpiredToken": f"the session token has expired: {WRONG_KEYS}",
    "RequestTimeTooSkewed": "the clock of this machine is wrong by more than the store allows: set it right",
    "PermanentRedirect": f"the bucket lies in another region: {REGION}",
    "AuthorizationHeaderMalformed": f"the requests are signed for another region: {REGION}",
    "NoSuchBucket": "there is no such bucket: create it, or give the name of another",
    "InvalidBucketName": "no bucket can have that name: give the name of another",
    "SlowDown": "the store failed to answer, though it was asked again and again: start the same command again later",
    "NotImplemented": "the store does not know what it was asked for: use one that knows conditional writes (If-None-Match)",
}
"""The codes of S3 for what a user can set right, and what to tell."""

SAME = {
    "403": "AccessDenied", "401": "AccessDenied", "Forbidden": "AccessDenied", "AllAccessDisabled": "AccessDenied",
    "ACCESS_DENIED": "AccessDenied", "INVALID_ACCESS_KEY_ID": "InvalidAccessKeyId", "INVALID_CLIENT_TOKEN_ID": "InvalidAccessKeyId",
    "SIGNATURE_DOES_NOT_MATCH": "SignatureDoesNotMatch", "TokenRefreshRequired": "ExpiredToken", "301": "PermanentRedirect",
    "TemporaryRedirect": "PermanentRedirect", "307": "PermanentRedirect", "IllegalLocationConstraintException": "PermanentRedirect",
    "NO_SUCH_BUCKET": "NoSuchBucket", "501": "NotImplemented", "InternalError": "SlowDown", "ServiceUnavailable": "SlowDown",
    "500": "SlowDown", "502": "SlowDown", "503": "SlowDown", "504": "SlowDown", "SLOW_DOWN": "SlowDown", "INTERNAL_FAILURE": "SlowDown",
    "SERVICE_UNAVAILABLE": "SlowDown", "NETWORK_CONNECTION": "SlowDown",
}  # fmt: skip
"""Other names of the same: by status where an answer has no body, and by pyarrow."""

ARROW = re.compile(r"AWS Error (?:UNKNOWN \(HTTP status (\d+)\)|(\w+))")


def check_store(url: str) -> None:
    """Look whether a bucket can be reached with these settings. Whether its objects may be read shows when they are.

    Raises:
        ShelfcodeError: it cannot; says what to set.
    """
    if not is_s3(url):
        return
    fs, path = url_to_fs(url, skip_instance_cache=True, use_listings_cache=False, config_kwargs=QUICK)
    fs.retries = 1
    bucket, _, prefix = path.partition("/")
    try:
        answer = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except PermissionError as error:
        if _code(error) not in ("AccessDenied", ""):  # whoever may not list may still read one file
            raise ShelfcodeError(f"{url}: {store_problem(error)}") from error
    except Exception as error:
        problem = NO_STORE if _is_page(error) else store_problem(error)
        if problem and problem != REFUSALS["SlowDown"]:  # a store that fails now and then gets its chance when work begins
            raise ShelfcodeError(f"{url}: {problem}") from error
        if not isinstance(error, OSError):
            raise
    else:
        if "Name" not in answer:
            raise ShelfcodeError(f"{url}: {NO_STORE}")


def store_problem(error: BaseException) -> str | None:
    """What is wrong with a store or its settings, and what to do; None for an error of another kind."""
    match error:
        case boto.NoCredentialsError() | boto.PartialCredentialsError() | boto.CredentialRetrievalError():
            return NO_CREDENTIALS
        case boto.ProfileNotFound() | boto.TokenRetrievalError() | boto.SSOError():
            return f"the credentials for S3 cannot be had: {error}. Set AWS_PROFILE, or log in again"
        case boto.InvalidRegionError() | boto.NoRegionError():
            return f"{error}: {REGION}"
        case boto.ConnectionError() | boto.HTTPClientError() | ResponseParserError():
            return f"{NO_STORE} ({error})"
        case ValueError() if "endpoint" in str(error).lower() and "invalid" in str(error).lower():
            return f"{error}: set AWS_ENDPOINT_URL to an address such as http://HOST:PORT, or leave it out for Amazon's"
    told = REFUSALS.get(_code(error))
    if told is None:
        return None
    region = _header(error, "x-amz-bucket-region")
    return told + (f". The bucket's region is {region}" if region and REGION in told else "")


def _code(error: BaseException) -> str:
    """The code of S3 in an error of botocore, s3fs or pyarrow; empty where there is none that means anything here."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    if isinstance(response, dict):
        code = str(response.get("Error", {}).get("Code", ""))
    elif found := ARROW.search(str(error)):
        code = found[1] or found[2]
    elif isinstance(error, PermissionError) and error.filename is None:  # from another process, which left the cause behind
        code = "AccessDenied"
    elif isinstance(error, OSError) and error.errno in (getattr(errno, "EREMCHG", -1), errno.ENOSYS):  # as s3fs translates them
        code = "NotImplemented" if error.errno == errno.ENOSYS else "PermanentRedirect"
    else:
        code = ""
    code = SAME.get(code, code)
    return code if code in REFUSALS else ""


def _is_page(error: BaseException) -> bool:
    """Whether a web page came where a list of objects should have; botocore calls that an error of the store."""
    response = getattr(error.__cause__, "response", None) or {}
    return response.get("Error", {}).get("Code") == "500" and str(_header(error, "content-type")).startswith("text/html")


def _header(error: BaseException, name: str) -> str | None:
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None) or {}
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}) if isinstance(response, dict) else {}
    value = headers.get(name)
    return None if value is None else str(value)
