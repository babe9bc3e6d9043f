-- For wrk: one line of a file as a header of each request. After "--": the path to ask for; the body that every answer
-- has to have; the header's name; how the lines are sent; the file.
--   once   each line once, and the run ends when there are no more
--   again  from the beginning when all were sent
--   first  one line with each thread's first request, none after it; with a connection a thread: a log-in for each
--   never  no line at all
-- One line at the end says what came of it.
local threads = {}

function setup(thread)
  thread:set("number", #threads + 1)
  table.insert(threads, thread)
end

function init(args)
  expected, how, requests, sent = args[2] .. "\n", args[4], {}, 0
  plain = wrk.format("GET", args[1])
  if how ~= "never" then
    for line in io.lines(args[5]) do
      requests[#requests + 1] = wrk.format("GET", args[1], { [args[3]] = line })
    end
  end
  good, other, spent = 0, 0, 0
end

function request()
  sent = sent + 1
  if how == "never" then return plain end
  if how == "first" then -- wrk asks the first thread for one more, at its start, to look at
    return sent == (number == 1 and 2 or 1) and requests[number] or plain
  end
  if sent > #requests then
    if how == "again" then
      sent = 1
    else
      spent, sent = 1, #requests
      wrk.thread:stop()
    end
  end
  return requests[sent]
end

function response(status, headers, body)
  if status == 200 and body == expected then good = good + 1 else other = other + 1 end
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
