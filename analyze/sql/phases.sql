-- phases: the time between marks. A phase lasts from its mark to the next one (`trace_end` ends the last; without it the trace's last row does).
-- Rows belong to the phase by seq, so that phases are there even where times are not.
--
-- @column trace     number of the trace
-- @column phase     number of the phase, from 0
-- @column name      the mark's text
-- @column from_seq  seq of its mark
-- @column past_seq  seq of the first row after it
-- @column start_ns  ts_ns of its mark; null if unknown
-- @column end_ns    ts_ns of the mark that ends it, or the latest end of a row of the trace; null if unknown
-- @column dur_ns    end_ns - start_ns, ns; null if unknown
-- One row per trace.
create or replace view _trace_ends as
select
  trace, _past(max(seq), 1) as past_seq, min(_known_ns(ts_ns)) as start_ns,
  max(_known_ns(ts_ns) + coalesce(_known_ns(dur_ns), 0)) as end_ns
from events
group by trace;

create or replace view phases as
with marks as (
  select trace, seq, ts_ns, name, lead(seq) over following as next_seq, lead(ts_ns) over following as next_ns
  from (select trace, seq, _known_ns(ts_ns) as ts_ns, detail as name from events where op = 'mark')
  window following as (partition by trace order by seq)
)
select
  m.trace,
  row_number() over (partition by m.trace order by m.seq) - 1 as phase,
  m.name,
  m.seq as from_seq,
  coalesce(m.next_seq, e.past_seq) as past_seq,
  m.ts_ns as start_ns,
  case when m.next_seq is null then e.end_ns else m.next_ns end as end_ns,
  case when m.next_seq is null then e.end_ns else m.next_ns end::bigint - m.ts_ns::bigint as dur_ns
from marks m
join _trace_ends e on e.trace = m.trace
where m.name is distinct from 'trace_end';
