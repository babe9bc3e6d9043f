-- For wrk: a token of its own for each request. After "--": the file of tokens, one in base64 a line; the path to ask
-- for; "once", or "again" to begin anew when all were sent. One line at the end says what came of it.
local requests, sent, again, threads = {}, 0, false, {}

function setup(thread) table.insert(threads, thread) end

function init(args)
  again = args[3] == "again"
  for token in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", args[2], { ["Authorization"] = "Negotiate " .. token })
  end
  good, other, spent = 0, 0, 0
end

function request()
  sent = sent + 1
  if sent > #requests then
    if again then
      sent = 1
    else
      spent, sent = 1, #requests
      wrk.thread:stop()
    end
  end
  return requests[sent]
end

function response(status)
  if status == 200 then good = good + 1 else other = other + 1 end
end

function done(summary)
  local good, other, spent = 0, 0, 0
  for _, thread in ipairs(threads) do
    good, other, spent = good + thread:get("good"), other + thread:get("other"), spent + thread:get("spent")
  end
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("good=%d other=%d broken=%d spent=%d microseconds=%d\n",
    good, other, broken, spent, summary.duration))
end
