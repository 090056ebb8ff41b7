-- Corrects one month's counter: `field` becomes `value`, and what is used changes by as much.
--
-- KEYS: the month. ARGV: mode (set, or raise: only upwards), field, value, milliseconds to keep a new counter, a field
-- that `field` takes the place of (empty: none). Saying it again changes nothing.

local key, field, value = KEYS[1], ARGV[2], tonumber(ARGV[3])
local used, old = unpack(redis.call('HMGET', key, 'used', field))
local change = value - (tonumber(old) or 0)
if ARGV[1] == 'raise' and change < 0 then change = 0 end
if change ~= 0 then redis.call('HINCRBY', key, field, string.format('%.0f', change)) end
if ARGV[5] ~= '' then
  change = change - (tonumber(redis.call('HGET', key, ARGV[5])) or 0)
  redis.call('HDEL', key, ARGV[5])
end
if change ~= 0 then redis.call('HINCRBY', key, 'used', string.format('%.0f', change)) end
if not used then redis.call('PEXPIRE', key, ARGV[4]) end
return 1
