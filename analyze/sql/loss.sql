-- loss: what is not in a trace. Steps that the host could not do are in the metadata (`traces`), not here: they were never events.
--
-- @column trace          number of the trace
-- @column rows           rows in it
-- @column lost_rows      places where events are missing (`lost` rows)
-- @column lost_events    events missing there
-- @column seq_missing    numbers that seq leaves out: events that were there and are not in this file
-- @column ended          whether the capture ended cleanly (the mark `trace_end`)
-- @column end_lost       events lost in all as the end says; null without it
-- @column exit_status    of what was traced, as the end says; null without it
create or replace view loss as
select
  trace,
  count(*)::ubigint as rows,
  count(*) filter (where op = 'lost')::ubigint as lost_rows,
  try_cast(coalesce(sum(len) filter (where op = 'lost'), 0) as ubigint) as lost_events,
  try_cast(max(seq)::hugeint + 1 - count(*) as bigint) as seq_missing,
  count(*) filter (where op = 'mark' and detail = 'trace_end') > 0 as ended,
  max(len) filter (where op = 'mark' and detail = 'trace_end') as end_lost,
  max(result) filter (where op = 'mark' and detail = 'trace_end') as exit_status
from events
group by trace;
