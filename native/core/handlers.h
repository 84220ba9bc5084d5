// Who executes which operation. An interface (KVM, guest_memfd, ...) is one file ops_*.cc with one function that
// registers its handlers, declared here and called in handlers.cc.
#pragma once

#include "op_run.h"
#include "ops.h"

namespace cvmtrace {

using Handler = void (*)(OpRun& run);

struct HandlerTable {
  Handler by_op[kOpCount];

  constexpr Handler& operator[](Op op) { return by_op[static_cast<size_t>(op)]; }
  constexpr const Handler& operator[](Op op) const { return by_op[static_cast<size_t>(op)]; }
};

// Operations that no interface registered answer ENOSYS.
const HandlerTable& Handlers();

void RegisterMarkOps(HandlerTable& table);
void RegisterKvmOps(HandlerTable& table);
void RegisterVcpuOps(HandlerTable& table);
void RegisterGmemOps(HandlerTable& table);
void RegisterRamOps(HandlerTable& table);
void RegisterVfioOps(HandlerTable& table);
void RegisterIommufdOps(HandlerTable& table);
void RegisterHwptOps(HandlerTable& table);
void RegisterIommufdMockOps(HandlerTable& table);
void RegisterGupOps(HandlerTable& table);

}  // namespace cvmtrace
