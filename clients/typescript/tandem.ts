// A client of Tandem's gateways, over plain NATS (package natsapi) and over HTTP (package httpapi).
//
//	const api = overNats(await connect({ servers: "nats.example:4222", inboxPrefix: "_INBOX_ann" }), "ann");
//	const api = overHttp("https://api.example", { headers: { Authorization: "Bearer ..." } });
//	const { body, replayed } = await api.call("account", "Deposit", { Amount: 5 }, { id: "7" });
//	for await (const item of api.stream("desk", "Count", { To: 3 })) console.log(item);
//
// A call has a key, which is random unless the caller gives one, and all its attempts have the same. So it is safe to try
// again when no answer came: what has run already is not run again, and its recorded outcome is the answer. Without a key
// (key: null), which is right for messages that cannot have one, a call is tried again only if the gateway says that it did
// not run.
//
// It is one file, to be copied. Over HTTP it needs only fetch; over NATS it is given a connection of @nats-io/transport-node
// or another transport of @nats-io/nats-core, which stays the caller's.

import { createInbox, headers as natsHeaders, type Msg, type MsgHdrs, type NatsConnection, type Subscription } from "@nats-io/nats-core";

export interface Answer { body: any; replayed: boolean; ran: Ran }
export type Ran = "yes" | "no" | "unknown";
export interface Job { state: string; done?: number; total?: number; result?: any; error?: { code: string; ran: Ran; detail?: string } }

/** Times are in milliseconds. attempt is how long each attempt may take, and timeout all together. */
export interface CallOptions { id?: string; key?: string | null; timeout?: number; attempt?: number }
export interface StreamOptions { id?: string; timeout?: number }

/** What a request that failed ends with. ran says whether it ran; user is the name of the application's own error. */
export class TandemError extends Error {
	readonly code: string;
	readonly detail: string;
	readonly status: number;
	readonly user: string;
	readonly retryAfter: number; // milliseconds
	ran: Ran;
	constructor(code: string, ran: Ran, detail = "", status = 0, user = "", retryAfter = 0) {
		super(`${code}: ${detail} [ran: ${ran}]`);
		this.code = code;
		this.ran = ran;
		this.detail = detail;
		this.status = status;
		this.user = user;
		this.retryAfter = retryAfter;
	}
}

/** Another attempt may end otherwise only after these errors. */
const passing = new Set(["overloaded", "unavailable", "leaving", "moved", "session-lost", "stale", "expired", "canceled", "no-answer"]);

/** For how much longer than the gateway the client waits, so that it hears what the gateway knows. */
const grace = 1_000;

type Headers = Record<string, string>;
interface Reply { header(name: string): string | null; text: string }
interface To { target: string; id?: string; message: string }

/** A way to a gateway. */
interface Road {
	ask(to: To, body: string, headers: Headers, timeout: number): Promise<Reply>;
	stream(to: To, body: string, headers: Headers, timeout: number): AsyncGenerator<string>;
	submit(to: To, body: string, headers: Headers, timeout: number): Promise<string>;
	job(token: string, what: "poll" | "cancel", wait: number): Promise<string>;
}

/** Calls actors. Bodies are what JSON.stringify writes and JSON.parse reads. */
export class Client {
	readonly #road: Road;
	constructor(road: Road) { this.#road = road; }

	/** Sends a message and returns its answer. It makes attempts until the time is over. Throws TandemError. */
	async call(target: string, message: string, body: unknown = {}, o: CallOptions = {}): Promise<Answer> {
		const { id, key = crypto.randomUUID(), timeout = 30_000, attempt = 5_000 } = o;
		const end = performance.now() + timeout;
		let pause = 50, inDoubt = false;
		for (;;) {
			const left = Math.max(Math.min(attempt, end - performance.now()), 1);
			try {
				const r = await this.#road.ask({ target, id, message }, JSON.stringify(body), asked(left, key), left);
				return { body: r.text ? JSON.parse(r.text) : null, replayed: r.header("Tandem-Replayed") === "true", ran: ranOf(r.header("Tandem-Ran")) };
			} catch (err) {
				if (!(err instanceof TandemError)) throw err;
				pause = Math.max(pause, err.retryAfter);
				const again = passing.has(err.code) && (key !== null || err.ran === "no");
				inDoubt ||= err.ran === "unknown";
				// That the last attempt did not run says nothing about one before it that nobody answered.
				if (inDoubt && err.ran === "no") err.ran = "unknown";
				if (!again || performance.now() + pause >= end) throw err;
			}
			await new Promise((done) => setTimeout(done, pause * (0.75 + Math.random() / 2)));
			pause = Math.min(pause * 2, 2_000);
		}
	}

	/** Sends a message that is answered with a stream, and iterates over its items. It is never tried again. */
	async *stream(target: string, message: string, body: unknown = {}, o: StreamOptions = {}): AsyncGenerator<any> {
		const { id, timeout = 30_000 } = o;
		for await (const text of this.#road.stream({ target, id, message }, JSON.stringify(body), asked(timeout, null), timeout)) yield JSON.parse(text);
	}

	/** Sends a message as a job, in one attempt, and returns the job's token. */
	submit(target: string, message: string, body: unknown = {}, o: StreamOptions = {}): Promise<string> {
		const { id, timeout = 30_000 } = o;
		return this.#road.submit({ target, id, message }, JSON.stringify(body), { ...asked(timeout, null), Prefer: "respond-async" }, timeout);
	}

	/** Returns what the job is after at most that long. */
	async poll(token: string, wait = 0): Promise<Job> { return JSON.parse(await this.#road.job(token, "poll", wait)); }

	/** Has the job end early, and returns what it is then. */
	async cancel(token: string): Promise<Job> { return JSON.parse(await this.#road.job(token, "cancel", 0)); }
}

/** The id of an actor as it stands in a NATS subject or in the path of a URL. */
export function escape(id: string): string {
	return Array.from(new TextEncoder().encode(id), (b) => {
		const c = String.fromCharCode(b);
		return /[A-Za-z0-9_~-]/.test(c) ? c : "%" + b.toString(16).toUpperCase().padStart(2, "0");
	}).join("");
}

function asked(timeout: number, key: string | null): Headers {
	return { "Request-Timeout": (timeout / 1000).toFixed(3), ...(key === null ? {} : { "Idempotency-Key": JSON.stringify(key) }) };
}

function ranOf(text: string | null | undefined): Ran { return text === "yes" || text === "no" ? text : "unknown"; }

function noAnswer(why: unknown, ran: Ran = "unknown"): TandemError { return new TandemError("no-answer", ran, String(why)); }

/** The error that an answer is. */
function problem(status: number, r: Reply): TandemError {
	let p: any = {};
	try { p = JSON.parse(r.text); } catch { /* it is not the gateway's own */ }
	const retry = Number(p.retryAfter ?? r.header("Retry-After") ?? 0);
	return new TandemError(p.code ?? r.header("Tandem-Code") ?? "no-answer", ranOf(p.ran ?? r.header("Tandem-Ran")), p.detail ?? p.title ?? "", status, p.user ?? "", retry * 1000);
}

/** A client over HTTP; headers are sent with each request. */
export function overHttp(url: string, o: { headers?: Headers } = {}): Client {
	const base = url.replace(/\/$/, "");
	const path = ({ target, id, message }: To) => "/" + (id === undefined ? [target, message] : [target, escape(id), message]).join("/");

	async function open(method: string, path: string, body: string | undefined, headers: Headers, timeout: number): Promise<Response> {
		const type: Headers = body === undefined ? {} : { "Content-Type": "application/json" };
		let r: Response;
		try {
			r = await fetch(base + path, { method, body, headers: { ...o.headers, ...headers, ...type }, signal: AbortSignal.timeout(Math.ceil(timeout) + grace) });
		} catch (err: any) { // only a connection that was not made is one that has sent nothing
			throw noAnswer(err, err?.cause?.code === "ECONNREFUSED" || err?.cause?.code === "ENOTFOUND" ? "no" : "unknown");
		}
		if (r.status >= 400) throw problem(r.status, await read(r));
		return r;
	}
	async function read(r: Response): Promise<Reply> {
		try {
			return { header: (name) => r.headers.get(name), text: await r.text() };
		} catch (err) {
			throw noAnswer(err);
		}
	}

	return new Client({
		ask: async (to, body, headers, timeout) => read(await open("POST", path(to), body, headers, timeout)),
		async submit(to, body, headers, timeout) {
			const r = await open("POST", path(to), body, headers, timeout);
			await read(r);
			return decodeURIComponent((r.headers.get("Location") ?? "").replace(/.*\//, ""));
		},
		async job(token, what, wait) {
			const headers: Headers = what === "cancel" ? {} : { Prefer: `wait=${Math.floor(wait / 1000)}` };
			return (await read(await open(what === "cancel" ? "DELETE" : "GET", "/-/jobs/" + encodeURIComponent(token), undefined, headers, wait + 10_000))).text;
		},
		/** Reads Server-Sent Events; comments keep a quiet stream open. */
		async *stream(to, body, headers, timeout) {
			const r = await open("POST", path(to), body, headers, timeout);
			let event = "", data: string[] = [];
			try {
				for await (const line of lines(r.body!)) {
					const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line)!;
					if (name === "event") event = value;
					else if (name === "data") data.push(value);
					else if (line === "" && data.length > 0) {
						const text = data.join("\n");
						if (event === "end") return;
						if (event === "error") throw problem(0, { header: () => null, text });
						yield text;
						[event, data] = ["", []];
					}
				}
			} catch (err) {
				throw err instanceof TandemError ? err : noAnswer(err, "yes");
			}
			throw noAnswer("the stream was cut off", "yes");
		},
	});
}

/** The lines of a body. Leaving the loop cancels it. */
async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
	const decoder = new TextDecoder();
	let rest = "";
	for await (const chunk of body as any as AsyncIterable<Uint8Array>) {
		const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
		rest = parts.pop()!;
		yield* parts;
	}
}

/** A client over NATS. token says which principal it is; "-" is nobody. */
export function overNats(nc: NatsConnection, token = "-", prefix = "tandem.api"): Client {
	const subject = ({ target, id, message }: To) => [prefix, token, target, ...(id === undefined ? [] : [escape(id)]), message].join(".");
	const reply = (m: Msg): Reply => ({ header: (name) => m.headers?.get(name) || null, text: m.string() });

	/** Sends a request, and iterates over what answers it. Leaving the loop ends the subscription. */
	async function* answers(subject: string, body: string, headers: Headers, timeout: number): AsyncGenerator<Msg> {
		const h: MsgHdrs = natsHeaders();
		for (const [name, value] of Object.entries(headers)) h.set(name, value);
		const inbox = createInbox((nc as any).options?.inboxPrefix);
		let sub: Subscription | undefined, timer: ReturnType<typeof setTimeout> | undefined, sent = false, late = false;
		try {
			sub = nc.subscribe(inbox);
			nc.publish(subject, body, { headers: h, reply: inbox });
			sent = true;
			timer = setTimeout(() => { late = true; sub!.unsubscribe(); }, timeout + grace);
			for await (const m of sub) {
				if (m.headers?.code === 503) throw new TandemError("unavailable", "no", "nobody serves " + subject, 503);
				yield m;
			}
		} catch (err) {
			throw err instanceof TandemError ? err : noAnswer(err, sent ? "unknown" : "no");
		} finally {
			clearTimeout(timer);
			if (!nc.isClosed()) sub?.unsubscribe();
		}
		throw noAnswer(late ? "the time is over" : "the connection is closed");
	}
	function check(m: Msg): Msg {
		const status = Number(m.headers?.get("Nats-Service-Error-Code") || 0);
		if (status) throw problem(status, reply(m));
		return m;
	}
	async function one(subject: string, body: string, headers: Headers, timeout: number): Promise<Reply> {
		for await (const m of answers(subject, body, headers, timeout)) return reply(check(m));
		throw noAnswer("the connection is closed");
	}

	return new Client({
		ask: (to, body, headers, timeout) => one(subject(to), body, headers, timeout),
		submit: async (to, body, headers, timeout) => JSON.parse((await one(subject(to), body, headers, timeout)).text).token,
		async job(token, what, wait) {
			const awaits = what === "poll" && wait > 0; // the gateway waits three quarters of the time
			const timeout = awaits ? wait * 4 / 3 : 10_000;
			return (await one(subject({ target: "jobs", message: awaits ? "await" : what }), JSON.stringify({ token }), asked(timeout, null), timeout)).text;
		},
		async *stream(to, body, headers, timeout) {
			let n = 0;
			for await (const m of answers(subject(to), body, headers, timeout)) {
				check(m);
				const end = m.headers?.get("Tandem-End");
				if (end === String(n)) return;
				if (end || m.headers?.get("Tandem-Item") !== String(n + 1)) throw noAnswer("items of the stream were lost", "yes");
				n++;
				yield m.string();
			}
		},
	});
}
