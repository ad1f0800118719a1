"""The Lua scripts of state.redis: what one call checks and writes, at once.

A value is a hash with `data`, `version` (1, 2, 3…, the etag) and, once it was written with first-write, `first-write`. JSON values are
documents of the same shape. Layout and rules: components-contrib state/redis @1.18.4 (recorded); the scripts are our own, and they
set the expiry together with the value.
"""

from __future__ import annotations

WRITE = """
local function plain_version(key)
  local found = redis.pcall('HGET', key, 'version')
  if type(found) == 'table' or found == '' then return nil end
  return found or nil
end
local function plain_allowed(key, etag)
  local version = plain_version(key)
  return not version or version == etag or (etag == '0' and redis.call('HEXISTS', key, 'first-write') == 0)
end
local function plain_set(key, data, first)
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= 'hash' then redis.call('DEL', key) end
  redis.call('HSET', key, 'data', data)
  if first == '0' then redis.call('HSET', key, 'first-write', 0) end
  redis.call('HINCRBY', key, 'version', 1)
end
local function json_get(key, path)
  local found = redis.pcall('JSON.GET', key, path)
  if type(found) == 'table' or found == '' then return nil end
  return found or nil
end
local function json_allowed(key, etag)
  local version = json_get(key, '.version')
  return not version or version == etag or (etag == '0' and not json_get(key, '.first-write'))
end
local function json_set(key, data, first)
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= 'ReJSON-RL' then redis.call('DEL', key) end
  local version = json_get(key, '.version') or '0'
  redis.call('JSON.SET', key, '$', data)
  if first == '0' then redis.call('JSON.SET', key, '.first-write', 0) end
  redis.call('JSON.SET', key, '.version', tonumber(version) + 1)
end
local function set_ttl(key, ttl)
  if ttl == '' then return end
  if tonumber(ttl) > 0 then redis.call('EXPIRE', key, ttl) else redis.call('PERSIST', key) end
end
"""

OPERATIONS = (
    WRITE
    + """
-- KEYS: one for each operation; ARGV: six for each: set|delete, plain|json, etag ('0' = none), data, first ('0' = first-write), ttl.
-- 0 = done, else the number of the first refused operation and nothing was written.
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 6
  local verb, mode, etag = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local allowed
  if verb == 'set' then
    allowed = mode == 'json' and json_allowed(key, etag) or mode == 'plain' and plain_allowed(key, etag)
  else
    local version = mode == 'json' and json_get(key, '.version') or mode == 'plain' and plain_version(key)
    allowed = not version or version == etag or etag == '0'
  end
  if not allowed then return i end
end
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 6
  if ARGV[at + 1] == 'delete' then
    redis.call('DEL', key)
  else
    if ARGV[at + 2] == 'json' then json_set(key, ARGV[at + 4], ARGV[at + 5]) else plain_set(key, ARGV[at + 4], ARGV[at + 5]) end
    set_ttl(key, ARGV[at + 6])
  end
end
return 0
"""
)

# For each key: data and version of its hash, two nils for a missing key, two ones for a key of another type.
READ = """
local found = {}
for i, key in ipairs(KEYS) do
  local pair = redis.pcall('HMGET', key, 'data', 'version')
  if pair.err then pair = {1, 1} end
  if pair[1] == false and redis.call('EXISTS', key) == 1 then pair = {1, 1} end
  found[2 * i - 1], found[2 * i] = pair[1], pair[2]
end
return found
"""

# What daprd's clients see of its own scripts when Redis 7 refuses, recorded; scripts look for it.
SET_REFUSED = "ERR user_script:14: failed to set key {key} script: d908b9553add63a82e03589b5c6d01a7654ef0f2, on @user_script:14."
DELETE_REFUSED = "ERR user_script:6: failed to delete {key} script: 2446db0de2c963f100727b388f03ead01d18c265, on @user_script:6."
