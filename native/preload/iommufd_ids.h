// Numbers for what an iommufd knows by an id: address spaces, page tables, devices, queues.
#pragma once

#include <stdint.h>

namespace cvmtrace::preload {

// The number of an id, given now if it has none; 0 if too many are kept in mind, or for id 0.
uint32_t NumberOfId(uint32_t iommufd, uint32_t id);
// A new object has that id; its number.
uint32_t NumberNewId(uint32_t iommufd, uint32_t id);
// An object that has a number already has that id.
void NameId(uint32_t iommufd, uint32_t id, uint32_t number);
// The object is gone, its id free.
void ForgetId(uint32_t iommufd, uint32_t id);

}  // namespace cvmtrace::preload
