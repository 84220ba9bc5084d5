// Files of the machine's own, in a word each.
#pragma once

#include <string>
#include <vector>

namespace cvmtrace::lab {

// The folder and all above it.
void MakeFolders(const std::string& path);
// Nothing happens if there is no such file: a kernel may lack what it would set.
void WriteFile(const std::string& path, const std::string& text);
// The first line; empty if there is no such file.
std::string ReadLine(const std::string& path);
// Names in a folder, without hidden ones; none if there is no such folder.
std::vector<std::string> List(const std::string& folder);

}  // namespace cvmtrace::lab
