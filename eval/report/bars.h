// One number of each model, as a table and as bars with what chance gives and what a control gives.
#pragma once
#include <string>
#include <vector>

#include "eval/report/sections.h"

namespace panvae::eval {

struct Bar {
  std::string model;                                                      // its label
  double value, error = kUnknown, chance = kUnknown, control = kUnknown;  // unknown ones are not drawn
  std::string kind;                                                       // best, baseline, model, clinical: the colour
  std::string text;                                                       // what stands beside a value that is known
};

struct Bars {
  std::string table{}, figure{};  // ids
  std::string name{}, axis{};     // "Cohort accuracy", "accuracy"
  bool higher_is_better = true;
  int digits = 3;  // of the axis
  double from = 0, to = 1;
  bool square_root = false;  // scale
  std::string caption{};
  std::vector<Bar> bars{};

  bool any(double Bar::*what) const;  // whether any bar knows it
  void add_to(Page& page) const;
};

}  // namespace panvae::eval
