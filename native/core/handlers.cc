#include "handlers.h"

namespace cvmtrace {
namespace {

HandlerTable MakeTable() {
  HandlerTable table;
  for (Handler& handler : table.by_op) handler = [](OpRun& run) { run.Skip(ENOSYS); };
  RegisterMarkOps(table);
  RegisterKvmOps(table);
  RegisterVcpuOps(table);
  RegisterGmemOps(table);
  RegisterRamOps(table);
  RegisterVfioOps(table);
  RegisterIommufdOps(table);
  RegisterHwptOps(table);
  RegisterIommufdMockOps(table);
  RegisterGupOps(table);
  return table;
}

}  // namespace

const HandlerTable& Handlers() {
  static const HandlerTable table = MakeTable();
  return table;
}

}  // namespace cvmtrace
