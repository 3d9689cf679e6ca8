// Tests of the client, against real gateways: go run ./test/clients starts them, on a node with a desk and accounts.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { strict as assert } from "node:assert";
import { after, before, describe, test } from "node:test";
import { connect } from "@nats-io/transport-node";
import { Client, TandemError, overHttp, overNats } from "./tandem.ts";

const gateways = spawn("go", ["run", "./test/clients"], { cwd: process.env.TANDEM_ROOT ?? "../..", stdio: ["pipe", "pipe", "inherit"] });
const [line] = await new Promise<string[]>((done) => createInterface(gateways.stdout).once("line", (l) => done([l])));
const urls = JSON.parse(line);
const nc = await connect({ servers: urls.nats });
after(async () => {
	await nc.close();
	gateways.stdin.end();
});

async function fails(code: string, ran: string, call: Promise<unknown>): Promise<TandemError> {
	const err = await call.then(() => assert.fail("no error"), (err) => err);
	assert.ok(err instanceof TandemError, String(err));
	assert.deepEqual([err.code, err.ran], [code, ran], err.message);
	return err;
}

const roads: Record<string, () => Client> = { nats: () => overNats(nc, "ann"), http: () => overHttp(urls.http) };
for (const [road, open] of Object.entries(roads)) {
	describe("over " + road, () => {
		let api: Client;
		before(() => { api = open(); });

		test("calls", async () => {
			assert.equal((await api.call("account", "Deposit", { Amount: 5 }, { id: road + ".é" })).body, 5);
			assert.equal((await api.call("account", "Deposit", { Amount: 5 }, { id: road + ".é" })).body, 10);
			assert.deepEqual(await api.call("desk", "Note", { Text: "hello" }, { key: null }), { body: null, replayed: false, ran: "unknown" });
		});

		test("keys", async () => {
			for (const replayed of [false, true]) {
				assert.deepEqual(await api.call("account", "Deposit", { Amount: 5 }, { id: road + "-keys", key: 'k"1' }), { body: 5, replayed, ran: "yes" });
			}
			await fails("id-reused", "yes", api.call("account", "Deposit", { Amount: 6 }, { id: road + "-keys", key: 'k"1' }));
		});

		test("what takes longer than an attempt runs once, and a later attempt gets its outcome", async () => {
			assert.equal((await api.call("account", "Slow", { Seconds: 1 }, { id: road + "-slow", attempt: 300 })).body, 1);
			assert.equal((await api.call("account", "Slow", { Seconds: 0 }, { id: road + "-slow" })).body, 2);
		});

		test("errors", async () => {
			const err = await fails("failed", "yes", api.call("account", "Deposit", { Amount: -5 }, { id: "poor" }));
			assert.deepEqual([err.user, err.detail, err.status], ["bank.poor", "not enough money", 422]);
			await fails("undecodable", "no", api.call("desk", "Deposit", { Amount: "five" }));
			await fails("invalid", "no", api.call("desk", "Note", {}, { key: "k" }));
			await fails("expired", "unknown", api.call("desk", "Slow", { Seconds: 1 }, { timeout: 300, key: null }));
			await fails(road === "nats" ? "unavailable" : "unhandled", "no", api.call("desk", "Nothing", {}, { timeout: 200 }));
		});

		test("streams", async () => {
			const items: number[] = [];
			for await (const n of api.stream("desk", "Count", { To: 100 })) items.push(n);
			assert.deepEqual(items, Array.from({ length: 100 }, (_, n) => n));
			const failing = api.stream("desk", "Count", { To: 2, Fail: true });
			assert.deepEqual([(await failing.next()).value, (await failing.next()).value], [0, 1]);
			await fails("failed", "yes", failing.next());
			for await (const n of api.stream("desk", "Count", { To: 100 })) if (n === 3) break;
		});

		test("jobs", async () => {
			let token = await api.submit("desk", "Slow", { Seconds: 1 });
			assert.ok(["accepted", "running"].includes((await api.poll(token)).state));
			assert.equal((await api.poll(token, 20_000)).state, "done");
			token = await api.submit("desk", "Slow", { Seconds: 60 });
			await api.cancel(token);
			assert.equal((await api.poll(token, 20_000)).state, "cancelled");
		});
	});
}

test("nobody there", async () => {
	await fails("no-answer", "no", overHttp("http://127.0.0.1:2").call("desk", "Deposit", {}, { timeout: 500 }));
});
