-- The probe said nothing about why the breaker is open: the next one comes soon.
-- Arguments: 6 in how many ms
if redis.call('HGET', own, 'b') == HALF_OPEN then
  redis.call('HSET', own, 'b', OPEN, 'p', text(now + ARGV[6] * 1000))
end
return 1
