-- A path that may not be in the normal form (portero.core.policy.path): refused, or written anew and routed again.
local PLAIN = {}
for char in ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@/"):gmatch(".") do
  PLAIN[char:byte()] = true
end

-- UTF-8 without surrogates, overlong forms, and control characters (RFC 3629 §4). Answers what is wrong, or nil.
local function wrong_text(text)
  local at, length = 1, #text
  while at <= length do
    local first = text:byte(at)
    local more, low, high = 0, 0x80, 0xBF
    if first < 0x20 or first == 0x7F then return "The path has a control character." end
    if first < 0x80 then more = 0
    elseif first >= 0xC2 and first <= 0xDF then more = 1
    elseif first == 0xE0 then more, low = 2, 0xA0
    elseif first == 0xED then more, high = 2, 0x9F
    elseif first >= 0xE1 and first <= 0xEF then more = 2
    elseif first == 0xF0 then more, low = 3, 0x90
    elseif first >= 0xF1 and first <= 0xF3 then more = 3
    elseif first == 0xF4 then more, high = 3, 0x8F
    else return "The path is not UTF-8." end
    for offset = 1, more do
      local byte = text:byte(at + offset)
      if byte == nil or byte < low or byte > high then return "The path is not UTF-8." end
      low, high = 0x80, 0xBF
    end
    if first == 0xC2 and text:byte(at + 1) <= 0x9F then return "The path has a control character." end
    at = at + more + 1
  end
  return nil
end

local function normal(path)
  if #path > 8192 then return nil, "The path is longer than 8192 bytes." end
  if path:find("[^\33-\126]") then return nil, "The path has a character that must be percent-encoded." end
  if path:find("#", 1, true) then return nil, "The path has a delimiter of another part of the URL." end
  if path:gsub("%%%x%x", ""):find("%", 1, true) then return nil, "The path has a percent sign that begins no octet." end
  if path:find("\\", 1, true) then return nil, "The path has a backslash." end
  local lower = path:lower()
  if lower:find("%2f", 1, true) or lower:find("%5c", 1, true) then
    return nil, "The path has an encoded slash or backslash."
  end
  local decoded = path:gsub("%%(%x%x)", function(octet) return string.char(tonumber(octet, 16)) end)
  local wrong = wrong_text(decoded)
  if wrong then return nil, wrong end
  if decoded:find("%%%x%x") then return nil, "The path is encoded twice." end
  for segment in (decoded .. "/"):gmatch("([^/]*)/") do
    local name = segment:match("^[^;]*")
    if name == "." or name == ".." then return nil, "The path has a dot segment." end
  end
  if decoded:find("//", 1, true) then return nil, "The path has an empty segment." end
  return (decoded:gsub(".", function(char)
    local byte = char:byte()
    return PLAIN[byte] and char or string.format("%%%02X", byte)
  end))
end

function envoy_on_request(handle)
  local target = handle:headers():get(":path")
  local path, query = target:match("^([^?]*)(.*)$")
  local written, wrong = normal(path)
  if written == nil then
    handle:respond(
      {
        [":status"] = "400",
        ["content-type"] = "application/problem+json",
        ["cache-control"] = "no-store",
        ["www-authenticate"] = 'Bearer error="invalid_request", error_description="' .. wrong .. '"',
      },
      '{"type":"about:blank","title":"Bad Request","status":400,"detail":"' .. wrong .. '","error":"invalid_request"}'
    )
    return
  end
  handle:headers():replace(":path", written .. query)
  handle:headers():replace("x-portero-normal", "1")
  handle:clearRouteCache()
end
