// What zero (or -1) padding of a packed convolution has to give back.
#pragma once

#include "shape.h"
#include "weight.h"

#include <cstdint>
#include <vector>

namespace bibench {

// Class of a filter position along one axis by which of its taps fall outside the input, and for each class
// those taps. Interior positions share class 0.
struct Border {
  std::vector<int32_t> class_of;              // per output position
  std::vector<std::vector<uint8_t>> outside;  // per class and tap
};

// Padding is packed as zero bits, that is as +1. What the taps outside then contribute too much, by class:
// their weights' signs once where padding is 0, twice where it is -1.
struct Corrections {
  Border rows, columns;
  int64_t width = 0;           // values per class and group
  std::vector<int32_t> table;  // [group][row class][column class][width], empty when nothing is padded
  // The same as [group][value][row class and column class], kLanes of these; empty where there are more.
  std::vector<int32_t> by_channel;

  // The first column's values in an output row; those of column c are `columns.class_of[c] * width` further.
  const int32_t* row(int64_t group, int64_t row) const {
    const int64_t classes = static_cast<int64_t>(rows.outside.size());
    return table.data() + (group * classes + rows.class_of[row]) * static_cast<int64_t>(columns.outside.size()) * width;
  }
};

Corrections corrections(const Shape& shape, const PackedWeight& weight);

}  // namespace bibench
