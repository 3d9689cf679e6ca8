"""Tests of the client, against real gateways: go run ./test/clients starts them, on a node with a desk and accounts."""

import json
import os
import subprocess
import threading
import time
import unittest

import tandem_client
from tandem_client import TandemError

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


class Roads:
    """The tests, which a class below runs on each road."""

    road = ""

    @classmethod
    def setUpClass(cls):
        cls.gateways = subprocess.Popen(["go", "run", "./test/clients"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        cls.urls = json.loads(cls.gateways.stdout.readline())

    @classmethod
    def tearDownClass(cls):
        cls.gateways.communicate()

    def setUp(self):
        self.api = tandem_client.connect(self.urls[self.road], token="ann")
        self.addCleanup(self.api.close)

    def fails(self, code, ran, call, *args, **options):
        with self.assertRaises(TandemError) as caught:
            call(*args, **options)
        self.assertEqual((caught.exception.code, caught.exception.ran), (code, ran), caught.exception)
        return caught.exception

    def test_calls(self):
        self.assertEqual(self.api.call("account", "Deposit", {"Amount": 5}, id=self.road + ".é").body, 5)
        self.assertEqual(self.api.call("account", "Deposit", {"Amount": 5}, id=self.road + ".é").body, 10)
        self.assertEqual(self.api.call("desk", "Note", {"Text": "hello"}, key=None), (None, False, "unknown"))

    def test_keys(self):
        for replayed in (False, True):
            answer = self.api.call("account", "Deposit", {"Amount": 5}, id=self.road + "-keys", key="k\"1")
            self.assertEqual(answer, (5, replayed, "yes"))
        self.fails("id-reused", "yes", self.api.call, "account", "Deposit", {"Amount": 6}, id=self.road + "-keys", key="k\"1")

    def test_attempts(self):
        """What takes longer than an attempt runs once, and a later attempt gets its outcome."""
        answer = self.api.call("account", "Slow", {"Seconds": 1}, id=self.road + "-slow", attempt=0.3)
        self.assertEqual(answer.body, 1)
        self.assertEqual(self.api.call("account", "Slow", {"Seconds": 0}, id=self.road + "-slow").body, 2)

    def test_errors(self):
        err = self.fails("failed", "yes", self.api.call, "account", "Deposit", {"Amount": -5}, id="poor")
        self.assertEqual((err.user, err.detail, err.status), ("bank.poor", "not enough money", 422))
        self.fails("undecodable", "no", self.api.call, "desk", "Deposit", {"Amount": "five"})
        self.fails("invalid", "no", self.api.call, "desk", "Note", {}, key="k")
        self.fails("expired", "unknown", self.api.call, "desk", "Slow", {"Seconds": 1}, timeout=0.3, key=None)

    def test_streams(self):
        self.assertEqual(list(self.api.stream("desk", "Count", {"To": 100})), list(range(100)))
        items = self.api.stream("desk", "Count", {"To": 2, "Fail": True})
        self.assertEqual([next(items), next(items)], [0, 1])
        self.fails("failed", "yes", next, items)

    def test_jobs(self):
        token = self.api.submit("desk", "Slow", {"Seconds": 1})
        self.assertIn(self.api.poll(token)["state"], ("accepted", "running"))
        done = self.api.poll(token, wait=20)
        self.assertEqual(done["state"], "done")
        token = self.api.submit("desk", "Slow", {"Seconds": 60})
        self.api.cancel(token)
        self.assertEqual(self.api.poll(token, wait=20)["state"], "cancelled")

    def test_threads(self):
        sums = []
        threads = [threading.Thread(target=lambda: sums.append(self.api.call("account", "Deposit", {"Amount": 1}, id=self.road + "-threads").body)) for _ in range(20)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(sorted(sums), list(range(1, 21)))

    def test_nobody_there(self):
        api = tandem_client.connect(self.road + "://127.0.0.1:1")
        self.addCleanup(api.close)
        start = time.monotonic()
        self.fails("no-answer", "no", api.call, "desk", "Deposit", {}, timeout=0.5)
        self.assertLess(time.monotonic() - start, 5)


class OverNats(Roads, unittest.TestCase):
    road = "nats"

    def test_no_responders(self):
        self.fails("unavailable", "no", self.api.call, "desk", "Nothing", timeout=0.2)

    def test_connection_lost(self):
        """The attempt after a lost connection makes a new one."""
        self.assertEqual(self.api.call("account", "Deposit", {"Amount": 5}, id="lost").body, 5)
        self.api._road.sock.shutdown(2)
        self.assertEqual(self.api.call("account", "Deposit", {"Amount": 5}, id="lost").body, 10)


class OverHttp(Roads, unittest.TestCase):
    road = "http"

    def test_nothing_there(self):
        self.fails("unhandled", "no", self.api.call, "desk", "Nothing", timeout=0.2)


if __name__ == "__main__":
    unittest.main()
