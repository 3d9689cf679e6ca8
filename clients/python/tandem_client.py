"""A client of Tandem's gateways, over plain NATS (package natsapi) and over HTTP (package httpapi).

    with tandem_client.connect("nats://127.0.0.1:4222", token="ann", user="ann", password=secret) as api:
        answer = api.call("account", "Deposit", {"Amount": 5}, id="7")
        print(answer.body, answer.replayed)
        for item in api.stream("desk", "Count", {"To": 3}):
            print(item)

A call has a key, which is random unless the caller gives one, and all its attempts have the same. So it is safe to try again
when no answer came: what has run already is not run again, and its recorded outcome is the answer. Without a key (key=None),
which is right for messages that cannot have one, a call is tried again only if the gateway says that it did not run.

It is one file without dependencies, to be copied. An object of class Client may be used by several threads.
"""

import collections
import http.client
import json
import queue
import random
import socket
import ssl
import threading
import time
import urllib.parse
import uuid

Answer = collections.namedtuple("Answer", "body replayed ran")

# Another attempt may end otherwise only after these errors.
PASSING = {"overloaded", "unavailable", "leaving", "moved", "session-lost", "stale", "expired", "canceled", "no-answer"}
GRACE = 1.0  # for how much longer than the gateway the client waits, so that it hears what the gateway knows
NEW_KEY = object()


class TandemError(Exception):
    """What a request that failed ends with. ran is "yes", "no" or "unknown"; user is the name of the application's own error."""

    def __init__(self, code, ran, detail="", status=0, user="", retry_after=0.0):
        super().__init__(f"{code}: {detail} [ran: {ran}]")
        self.code, self.ran, self.detail, self.status, self.user, self.retry_after = code, ran, detail, status, user, retry_after


def connect(url, token="-", user=None, password=None, headers=None, tls=None, inbox=None):
    """Returns a Client of the gateway behind that URL: nats://, tls://, http:// or https://.

    token, over NATS: which principal the client is; "-" is nobody. inbox, over NATS: what its inboxes begin with; by default
    "_INBOX_" and the user, or "_INBOX". headers, over HTTP: sent with each request, for example Authorization. tls: an
    ssl.SSLContext; by default the system's.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme in ("http", "https"):
        return Client(_Http(parts, dict(headers or {}), tls))
    if parts.scheme not in ("nats", "tls"):
        raise ValueError(f"cannot connect to {url}")
    user, password = user or parts.username, password or parts.password
    return Client(_Nats(parts, token, user, password, inbox or ("_INBOX_" + user if user else "_INBOX"), tls))


class Client:
    """Calls actors. Bodies are what module json reads and writes. Times are in seconds."""

    def __init__(self, road):
        self._road = road

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._road.close()

    def call(self, target, message, body=None, *, id=None, key=NEW_KEY, timeout=30.0, attempt=5.0):
        """Sends a message and returns its Answer. It makes attempts, of at most that long each, until timeout is over. Raises
        TandemError."""
        end = time.monotonic() + timeout
        key = uuid.uuid4().hex if key is NEW_KEY else key
        pause, in_doubt = 0.05, False
        while True:
            left = end - time.monotonic()
            try:
                status, headers, text = self._road.ask(target, id, message, _dump(body), _headers(key, min(attempt, left)), min(attempt, left))
                return Answer(_load(text), headers.get("tandem-replayed") == "true", headers.get("tandem-ran", "unknown"))
            except TandemError as err:
                again = err.code in PASSING and (key is not None or err.ran == "no")
                pause = max(pause, err.retry_after)
                # That the last attempt did not run says nothing about one before it that nobody answered.
                in_doubt = in_doubt or err.ran == "unknown"
                if in_doubt and err.ran == "no":
                    err.ran = "unknown"
                if not again or time.monotonic() + pause >= end:
                    raise
            time.sleep(pause * random.uniform(0.75, 1.25))
            pause = min(pause * 2, 2.0)

    def stream(self, target, message, body=None, *, id=None, timeout=30.0):
        """Sends a message that is answered with a stream, and iterates over its items. It is never tried again."""
        for text in self._road.stream(target, id, message, _dump(body), _headers(None, timeout), timeout):
            yield _load(text)

    def submit(self, target, message, body=None, *, id=None, timeout=30.0):
        """Sends a message as a job, in one attempt, and returns the job's token."""
        return self._road.submit(target, id, message, _dump(body), {**_headers(None, timeout), "Prefer": "respond-async"}, timeout)

    def poll(self, token, wait=0.0):
        """Returns what the job is after at most that long: a dict with "state", and "result" or "error" once it has ended."""
        return _load(self._road.job(token, "poll", wait))

    def cancel(self, token):
        """Has the job end early, and returns what it is then."""
        return _load(self._road.job(token, "cancel", 0.0))


def escape(id):
    """The id of an actor as it stands in a NATS subject or in the path of a URL."""
    return "".join(chr(b) if chr(b).isalnum() and b < 128 or b in b"-_~" else f"%{b:02X}" for b in str(id).encode())


def _dump(body):
    return b"{}" if body is None else json.dumps(body).encode()


def _load(text):
    return json.loads(text) if text else None


def _headers(key, timeout):
    return {"Request-Timeout": f"{max(timeout, 0.001):.3f}", **({"Idempotency-Key": json.dumps(key)} if key is not None else {})}


def _no_answer(why, ran="unknown"):
    return TandemError("no-answer", ran, str(why))


def _problem(status, headers, text):
    """The error that an answer is."""
    try:
        p = json.loads(text)
    except ValueError:
        p = {}
    return TandemError(p.get("code", headers.get("tandem-code", "no-answer")), p.get("ran", headers.get("tandem-ran", "unknown")),
                       p.get("detail", p.get("title", "")), status, p.get("user", ""), float(p.get("retryAfter", headers.get("retry-after", 0))))


class _Http:
    """The road over HTTP: a connection for each request."""

    def __init__(self, parts, headers, tls):
        self.parts, self.headers, self.tls = parts, headers, tls

    def close(self):
        pass

    def _open(self, method, path, body, headers, timeout):
        kind = http.client.HTTPSConnection if self.parts.scheme == "https" else http.client.HTTPConnection
        conn = kind(self.parts.hostname, self.parts.port, timeout=max(timeout, 0) + GRACE, **({"context": self.tls} if self.tls else {}))
        sent = False
        try:
            conn.connect()
            sent = True
            conn.request(method, self.parts.path.rstrip("/") + path, body, {**self.headers, **headers, **({"Content-Type": "application/json"} if body else {})})
            answer = conn.getresponse()
            headers = {k.lower(): v for k, v in answer.getheaders()}
            if answer.status >= 400:
                raise _problem(answer.status, headers, answer.read())
            return conn, answer, headers
        except (OSError, http.client.HTTPException) as err:
            conn.close()
            raise _no_answer(err, "unknown" if sent else "no") from err
        except TandemError:
            conn.close()
            raise

    def _ask(self, method, path, body, headers, timeout):
        conn, answer, headers = self._open(method, path, body, headers, timeout)
        try:
            return answer.status, headers, answer.read()
        except (OSError, http.client.HTTPException) as err:
            raise _no_answer(err) from err
        finally:
            conn.close()

    def ask(self, target, id, message, body, headers, timeout):
        return self._ask("POST", _path(target, id, message), body, headers, timeout)

    def submit(self, target, id, message, body, headers, timeout):
        _, headers, _ = self._ask("POST", _path(target, id, message), body, headers, timeout)
        return urllib.parse.unquote(headers["location"].rsplit("/", 1)[1])

    def job(self, token, what, wait):
        method, headers = ("DELETE", {}) if what == "cancel" else ("GET", {"Prefer": f"wait={int(wait)}"})
        return self._ask(method, "/-/jobs/" + urllib.parse.quote(token, safe=""), None, headers, wait + 10)[2]

    def stream(self, target, id, message, body, headers, timeout):
        """Reads Server-Sent Events; comments keep a quiet stream open."""
        conn, answer, _ = self._open("POST", _path(target, id, message), body, headers, timeout)
        try:
            event, data = "", []
            for line in answer:
                name, _, value = line.decode().rstrip("\r\n").partition(":")
                value = value.removeprefix(" ")
                if name == "event":
                    event = value
                elif name == "data":
                    data.append(value)
                elif name == "" and value == "" and data:
                    if event == "end":
                        return
                    if event == "error":
                        raise _problem(0, {}, "\n".join(data))
                    yield "\n".join(data)
                    event, data = "", []
            raise _no_answer("the stream was cut off", "yes")
        except (OSError, http.client.HTTPException) as err:
            raise _no_answer(err, "yes") from err
        finally:
            conn.close()


def _path(target, id, message):
    return "/" + "/".join(p for p in (target, None if id is None else escape(id), message) if p is not None)


class _Nats:
    """The road over NATS: one connection, opened when it is needed, and a thread that reads it."""

    def __init__(self, parts, token, user, password, inbox, tls):
        self.parts, self.token, self.tls = parts, token, tls
        self.options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "lang": "python", "version": "1", "protocol": 1,
                        **({"user": user, "pass": password} if user else {})}
        self.inbox = f"{inbox}.{uuid.uuid4().hex}"
        self.lock = threading.Lock()  # guards what follows, and writing
        self.sock = None
        self.waiting = {}  # the queues of those who wait for answers, by the last token of their inbox
        self.max_payload = 0

    def close(self):
        with self.lock:
            self._drop(self.sock)

    def _drop(self, sock):
        """Ends a connection, and tells those who wait that no answer comes. The lock is held."""
        if sock is None or sock is not self.sock:
            return
        self.sock = None
        sock.close()
        for q in self.waiting.values():
            q.put(None)

    def _connect(self, timeout):
        """Opens the connection if there is none. The lock is held."""
        if self.sock is not None:
            return
        sock = socket.create_connection((self.parts.hostname, self.parts.port or 4222), timeout=max(timeout, 0.001))
        try:
            info = json.loads(_line(sock).removeprefix(b"INFO "))
            if self.parts.scheme == "tls" or info.get("tls_required"):
                sock = (self.tls or ssl.create_default_context()).wrap_socket(sock, server_hostname=self.parts.hostname)
            sock.sendall(b"CONNECT " + json.dumps(self.options).encode() + b"\r\nPING\r\n")
            answer = _line(sock)
            if answer != b"PONG":
                raise OSError(answer.decode())
            sock.settimeout(None)
            sock.sendall(f"SUB {self.inbox}.* 1\r\n".encode())
        except BaseException:
            sock.close()
            raise
        self.sock, self.max_payload = sock, info.get("max_payload", 1 << 20)
        threading.Thread(target=self._read, args=(sock,), daemon=True).start()

    def _read(self, sock):
        """Reads a connection until it ends."""
        try:
            with sock.makefile("rb") as lines:
                while True:
                    words = lines.readline().split()
                    if not words:
                        return
                    verb = words[0].upper()
                    if verb == b"PING":
                        with self.lock:
                            sock.sendall(b"PONG\r\n")
                    elif verb in (b"MSG", b"HMSG"):
                        size, head = int(words[-1]), int(words[-2]) if verb == b"HMSG" else 0
                        payload = lines.read(size + 2)[:size]
                        with self.lock:
                            q = self.waiting.get(words[1].decode().rpartition(".")[2])
                        if q is not None:
                            q.put((*_parse(payload[:head]), payload[head:]))
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self._drop(sock)

    def _answers(self, subject, body, headers, timeout):
        """Sends a request, and iterates over what answers it."""
        end = time.monotonic() + timeout
        name, q = uuid.uuid4().hex, queue.SimpleQueue()
        head = "NATS/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
        head = head.encode()
        sent = False
        try:
            with self.lock:
                self._connect(timeout)
                if len(head) + len(body) > self.max_payload:
                    raise TandemError("too-large", "no", f"the server lets {self.max_payload} bytes pass", 413)
                self.waiting[name] = q
                sent = True
                sock = self.sock
                try:
                    sock.sendall(f"HPUB {subject} {self.inbox}.{name} {len(head)} {len(head) + len(body)}\r\n".encode() + head + body + b"\r\n")
                except OSError:
                    self._drop(sock)
                    raise
            while True:
                try:
                    answer = q.get(timeout=max(end - time.monotonic() + GRACE, 0))
                except queue.Empty:
                    raise _no_answer("the time is over") from None
                if answer is None:
                    raise _no_answer("the connection was lost")
                status, fields, text = answer
                if status == 503:
                    raise TandemError("unavailable", "no", "nobody serves " + subject, 503)
                yield fields, text
        except OSError as err:
            raise _no_answer(err, "unknown" if sent else "no") from err
        finally:
            with self.lock:
                self.waiting.pop(name, None)

    def _one(self, subject, body, headers, timeout):
        answers = self._answers(subject, body, headers, timeout)
        try:
            fields, text = next(answers)
        finally:
            answers.close()
        if "nats-service-error-code" in fields:
            raise _problem(int(fields["nats-service-error-code"]), fields, text)
        return 200, fields, text

    def _subject(self, target, id, message):
        return ".".join(["tandem.api", self.token, target] + ([] if id is None else [escape(id)]) + [message])

    def ask(self, target, id, message, body, headers, timeout):
        return self._one(self._subject(target, id, message), body, headers, timeout)

    def submit(self, target, id, message, body, headers, timeout):
        return json.loads(self.ask(target, id, message, body, headers, timeout)[2])["token"]

    def job(self, token, what, wait):
        if what == "poll" and wait > 0:
            what, timeout = "await", wait * 4 / 3  # the gateway waits three quarters of the time
        else:
            timeout = 10.0
        return self._one(self._subject("jobs", None, what), json.dumps({"token": token}).encode(), _headers(None, timeout), timeout)[2]

    def stream(self, target, id, message, body, headers, timeout):
        n = 0
        for fields, text in self._answers(self._subject(target, id, message), body, headers, timeout):
            if "nats-service-error-code" in fields:
                raise _problem(int(fields["nats-service-error-code"]), fields, text)
            if "tandem-end" in fields or fields.get("tandem-item") != str(n + 1):
                if fields.get("tandem-end") != str(n):
                    raise _no_answer("items of the stream were lost", "yes")
                return
            n += 1
            yield text


def _line(sock):
    """Reads a line, byte by byte, so that what follows stays in the socket."""
    line = b""
    while not line.endswith(b"\r\n"):
        c = sock.recv(1)
        if not c or len(line) > 1 << 16:
            raise OSError("the server closed the connection")
        line += c
    return line[:-2]


def _parse(head):
    """The status of NATS headers, which is 0 for most, and the headers by their names in lower case."""
    lines = head.decode().split("\r\n")
    words = lines[0].split()
    return int(words[1]) if len(words) > 1 else 0, {k.strip().lower(): v.strip() for k, _, v in (l.partition(":") for l in lines[1:]) if k}
