// What a program expects to find: the host's files with a layer in memory over them, the kernel's file systems, and
// the device under test with vfio-pci.
#pragma once

#include <string>

namespace cvmtrace::lab {

// The kernel's file systems that are needed to find the ports, over the host's root.
void MountFirst();

// Makes the host's root, with an overlay, the root of this process.
void EnterOverlay();

// Mounts an exported folder of the host, writable, at that path.
void MountShare(const std::string& tag, const std::string& path);

void RaiseLoopback();

// Gives the PCI devices of that id ("8086:10d3") to vfio-pci.
void BindToVfio(const std::string& id);

// The command line that runs the lab is found inside too, also by scripts.
void InstallCvmtrace(const std::string& script);

}  // namespace cvmtrace::lab
