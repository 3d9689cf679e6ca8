package redis

import "github.com/redis/go-redis/v9"

// The scripts run at once and alone, so each is one decision. What is kept, all below one prefix:
//
//	state          hash: rev, which counts changes, and id, which is another one when the data was lost
//	node:<name>    hash: the record's rev and value, and when its lease began; expires with the lease
//	left:<name>    hash: the latest departure; expires after registry.Memory
//	changes        sorted set: the rev of the latest change of each name
//	due            sorted set: when the lease of each name that is held ends
//	holders        hash: which epoch holds each name
//
// A lease that has ended becomes a change when a script comes across it (settle). Renewals are no
// changes. Each change is published, too, but only to be seen sooner.
const prelude = `
local p, id, memory = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSETNX', KEYS[1], 'id', id)

local function change(name)
	local rev = redis.call('HINCRBY', KEYS[1], 'rev', 1)
	redis.call('ZADD', p .. 'changes', rev, name)
	redis.call('PUBLISH', p .. 'changed', rev)
	return rev
end

local function depart(name, epoch, how, at, last)
	redis.call('ZREM', p .. 'due', name)
	redis.call('HDEL', p .. 'holders', name)
	redis.call('DEL', p .. 'node:' .. name, p .. 'left:' .. name)
	redis.call('HSET', p .. 'left:' .. name, 'epoch', epoch, 'change', how, 'at', at, 'last', last)
	redis.call('PEXPIRE', p .. 'left:' .. name, memory)
	return change(name)
end

local function settle(name)
	local due = redis.call('ZSCORE', p .. 'due', name)
	if not due or redis.call('EXISTS', p .. 'node:' .. name) == 1 then
		return
	end
	depart(name, redis.call('HGET', p .. 'holders', name) or '', 'expired', string.format('%.0f', math.min(tonumber(due), now)), '')
end

local function begin(name, lease)
	redis.call('HSET', p .. 'node:' .. name, 'at', now)
	redis.call('PEXPIRE', p .. 'node:' .. name, lease)
	redis.call('ZADD', p .. 'due', now + lease, name)
end
`

// getScript returns what there is under a name: rev, value, at of its record, then the rev of the name's
// latest change, then epoch, change, at, last of its latest departure. What is missing is nil.
var getScript = redis.NewScript(prelude + `
local name = ARGV[4]
settle(name)
local got = redis.call('HMGET', p .. 'node:' .. name, 'rev', 'value', 'at')
got[4] = redis.call('ZSCORE', p .. 'changes', name)
for i, v in ipairs(redis.call('HMGET', p .. 'left:' .. name, 'epoch', 'change', 'at', 'last')) do
	got[4 + i] = v
end
return got
`)

// putScript writes a record in the place of that with a rev; 0: there must be none. It returns
// the new rev, and 0 if there is another one.
var putScript = redis.NewScript(prelude + `
local name, rev, value, epoch, lease = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
settle(name)
local node = p .. 'node:' .. name
if (redis.call('HGET', node, 'rev') or '0') ~= rev then
	return 0
end
rev = change(name)
redis.call('HSET', node, 'rev', rev, 'value', value)
redis.call('HSET', p .. 'holders', name, epoch)
begin(name, lease)
return rev
`)

// renewScript begins the lease of a record again. It returns 0 if there is another record.
var renewScript = redis.NewScript(prelude + `
local name, rev, value, lease = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
settle(name)
local got = redis.call('HMGET', p .. 'node:' .. name, 'rev', 'value')
if got[1] ~= rev or got[2] ~= value then
	return 0
end
begin(name, lease)
return tonumber(rev)
`)

// deleteScript replaces a record by a departure. It returns the rev of that, and 0 if there is another record.
var deleteScript = redis.NewScript(prelude + `
local name, rev, epoch, last = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
settle(name)
if redis.call('HGET', p .. 'node:' .. name, 'rev') ~= rev then
	return 0
end
return depart(name, epoch, 'left', now, last)
`)

// changesScript returns the id and rev of the data, the server's time in milliseconds, and then for each name that has
// changed after a rev: name, rev, and value, or how its node departed and nil. It returns at most so many
// names, those that have changed first. Before, it ends leases, and looks at some names by chance
// to find records that are gone before their time, and names that need not be kept.
var changesScript = redis.NewScript(prelude + `
local since, most = ARGV[4], tonumber(ARGV[5])
for _, name in ipairs(redis.call('ZRANGEBYSCORE', p .. 'due', '-inf', now, 'LIMIT', 0, most)) do
	settle(name)
end
for _, name in ipairs(redis.call('ZRANDMEMBER', p .. 'changes', 16)) do
	settle(name)
	if redis.call('EXISTS', p .. 'node:' .. name, p .. 'left:' .. name) == 0 then
		redis.call('ZREM', p .. 'changes', name)
	end
end
local got = redis.call('HMGET', KEYS[1], 'id', 'rev')
got[2] = got[2] or '0'
got[3] = now
local changed = redis.call('ZRANGEBYSCORE', p .. 'changes', '(' .. since, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
for i = 1, #changed, 2 do
	local name = changed[i]
	local value = redis.call('HGET', p .. 'node:' .. name, 'value')
	got[#got + 1] = name
	got[#got + 1] = changed[i + 1]
	got[#got + 1] = value or redis.call('HGET', p .. 'left:' .. name, 'change') or 'expired'
	got[#got + 1] = value and 1 or 0
end
return got
`)
