-- For wrk: asks for rows that are drawn. Arguments: the path up to the id, and the number of rows.
local path, rows

function init(arguments)
  math.randomseed(1)
  path, rows = arguments[1], tonumber(arguments[2])
end

function request()
  return wrk.format("GET", path .. math.random(0, rows - 1))
end
