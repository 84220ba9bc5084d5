// Rows that are no kernel call: a mark, and the start of a vCPU exit (its duration and result come from the executor
// when it ends).
#include "handlers.h"

namespace cvmtrace {

void RegisterMarkOps(HandlerTable& table) {
  const Handler moment = [](OpRun& run) { run.Skip(0); };
  table[Op::mark] = moment;
  table[Op::exit_map_gpa_range] = moment;
  table[Op::exit_memory_fault] = moment;
}

}  // namespace cvmtrace
