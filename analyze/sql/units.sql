-- Units: pages, sizes and addresses as people write them. What they are given is null stays null.

-- pages_of(bytes): how many pages of 4 KiB hold so many bytes.
--
-- @example select pages_of(len) from conversions
create or replace macro pages_of(bytes) as (bytes // 4096 + (bytes % 4096 > 0)::utinyint)::ubigint;

-- size_text(bytes): a size for people, '2.0 MiB'.
--
-- @example select size_text(len), count(*) from conversions group by len
create or replace macro size_text(bytes) as format_bytes(try_cast(bytes as bigint));

-- address_text(address): an address in hexadecimal, '0x100000000'.
--
-- @example select address_text(gpa), direction from conversions
create or replace macro address_text(address) as '0x' || lower(hex(address::ubigint));

-- time_text(ns): a time for people, '1.234 ms'.
--
-- @example select time_text(sum(stall_ns)) from conversions
create or replace macro time_text(ns) as case
  when abs(ns) < 1000 then ns || ' ns'
  when abs(ns) < 1000000 then printf('%.3f us', ns / 1e3)
  when abs(ns) < 1000000000 then printf('%.3f ms', ns / 1e6)
  else printf('%.3f s', ns / 1e9)
end;

-- size_class(bytes): the class of sizes that op_latency sorts into: 'none', '<=4K', '<=64K', '<=1M', '<=2M', '<=64M' or '>64M'.
--
-- @example select size_class(len), count(*) from conversions group by all
create or replace macro _size_class(bytes) as case
  when bytes is null then 0 when bytes <= 4096 then 1 when bytes <= 65536 then 2 when bytes <= 1048576 then 3 when bytes <= 2097152 then 4
  when bytes <= 67108864 then 5 else 6
end::utinyint;
create or replace macro size_class(bytes) as ['none', '<=4K', '<=64K', '<=1M', '<=2M', '<=64M', '>64M'][_size_class(bytes) + 1];

-- power_of_2(bytes): the smallest power of 2 that holds so many bytes; for histograms of sizes.
--
-- @example select power_of_2(len), count(*) from conversions group by all order by 1
create or replace macro power_of_2(bytes) as
  if(bytes <= 1, bytes, try_cast(1::hugeint << length(bin((bytes - 1)::ubigint)) as ubigint))::ubigint;
