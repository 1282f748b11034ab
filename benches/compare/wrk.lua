-- One KiB POST. TOKENS names a file of caller tokens, FLOWS says how many flows there are; with VARY each request takes the next
-- of both.

wrk.method = "POST"
wrk.body = '"' .. string.rep("x", 1022) .. '"'
wrk.headers["Content-Type"] = "application/json"

local tokens = {}
for line in io.lines(os.getenv("TOKENS")) do
  tokens[#tokens + 1] = "Bearer " .. line
end
local flows = tonumber(os.getenv("FLOWS") or "1")

wrk.headers["Authorization"] = tokens[1]

-- Without this function wrk sends the same bytes again and again, which costs it least.
if os.getenv("VARY") then
  local paths = { [0] = "/flow" }
  for number = 1, flows - 1 do
    paths[number] = "/flow-" .. number
  end
  local sent = -1
  request = function()
    sent = sent + 1
    wrk.headers["Authorization"] = tokens[sent % #tokens + 1]
    return wrk.format(nil, paths[sent % flows])
  end
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"bad_statuses":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
