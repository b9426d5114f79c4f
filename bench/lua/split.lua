-- Benchmark rival: the same 90/5/5 split in Envoy's Lua filter, written with the same care as ours: the header is
-- written only for the small subsets, and one that a client sent is removed. Weights are constants; no counting.
function envoy_on_request(handle)
  local headers = handle:headers()
  local point = math.random(100)
  if point <= 5 then
    headers:replace("x-sluicegate-subset", "canary")
  elseif point <= 10 then
    headers:replace("x-sluicegate-subset", "baseline")
  elseif headers:get("x-sluicegate-subset") then
    headers:remove("x-sluicegate-subset")
  end
end
