// KVM_RUN: not a row, but counted, and exits that ask for a conversion are rows that last until the vCPU runs again.
#pragma once

#include "fd_table.h"

namespace cvmtrace::preload {

// Makes the call, KVM_RUN, and returns what the kernel did: -errno if it failed.
long RunVcpu(int fd, uintptr_t argument);

// The last descriptor of a vCPU is closed.
void EndVcpu(Object& vcpu);

// In a new child: the counts and open exits of vCPUs are its parent's.
void ForgetVcpusOfParent();

}  // namespace cvmtrace::preload
