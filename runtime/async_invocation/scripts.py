"""The three scripts that the store runs: each is one step that happens as a whole or not at all."""

from __future__ import annotations

from typing import Final

# Runs commands if the record is the one that was read. ARGV: the revision that was read ("" = there is none), then
# each command as its number of words and the words. The id of an added entry is noted in the record.
CHANGE: Final = """
local revision = redis.call('HGET', KEYS[1], 'revision') or ''
if revision ~= ARGV[1] then return 0 end
local at = 2
while at <= #ARGV do
  local words = {}
  for i = 1, tonumber(ARGV[at]) do words[i] = ARGV[at + i] end
  if words[1] == 'XGROUP' then
    redis.pcall(unpack(words))  -- refused where the group is there already
  else
    local answer = redis.call(unpack(words))
    if words[1] == 'XADD' then redis.call('HSET', KEYS[1], 'entry', answer) end
  end
  at = at + #words + 1
end
return 1
"""

# Puts the invocations whose time has come back into their queues; gives the time of the next one, "" if there is none.
# KEYS: due, queues. ARGV: now in milliseconds, how many at most, the prefix of every key, the group.
PROMOTE: Final = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, member in ipairs(due) do
  redis.call('ZREM', KEYS[1], member)
  local service, version, name, id = string.match(member, '^([^/]+)/([^/]+)/([^/]+)/([^/]+)$')
  local record = ARGV[3] .. 'record/' .. service .. '/' .. name .. '/' .. id
  local enqueued = redis.call('HGET', record, 'enqueued')
  if enqueued then
    local queue = service .. '/' .. version .. '/' .. name
    local stream = ARGV[3] .. 'queue/' .. queue
    redis.pcall('XGROUP', 'CREATE', stream, ARGV[4], '0', 'MKSTREAM')
    local entry = redis.call('XADD', stream, '*', 'id', id, 'enqueued', enqueued)
    redis.call('HSET', record, 'entry', entry)
    redis.call('SADD', KEYS[2], queue)
  end
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return first[2] or ''
"""

# Forgets a queue that has nothing in it. KEYS: its stream, queues. ARGV: its name.
FORGET: Final = """
if redis.call('XLEN', KEYS[1]) > 0 then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
return 1
"""
