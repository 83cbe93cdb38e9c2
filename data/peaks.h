// Peaks: where features of ATAC data lie on the genome, and their order along it (BED order: chromosomes in natural order,
// then start, then end). Neighbours in that order are neighbours in the blocks of the models.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"

namespace panvae::data {

struct Peaks {
  std::vector<std::string> chromosomes;  // in natural order, each used by a peak
  std::vector<int32_t> chromosome;       // of each peak, into `chromosomes`
  std::vector<int64_t> start, end;       // start < end, as the file counts them
  int64_t size() const { return static_cast<int64_t>(start.size()); }
};

// Natural order of chromosome names, with or without "chr": numbers (2 before 10), X, Y, M or MT, then everything else
// (contigs), its digits compared as numbers.
bool chromosome_before(std::string_view a, std::string_view b);
// chr1 to chr99, X, Y, M: not a contig.
bool is_main_chromosome(std::string_view name);

// "chr1:100-600", "chr1-100-600" or "chr1_100_600" (a contig's own '-', '_' and ':' are left alone); false if it is none.
bool parse_peak_name(std::string_view name, std::string_view& chromosome, int64_t& start, int64_t& end);

// The peaks of a feature table: from its columns chrom, start, end where all three exist, else from the names. `path` is
// for messages. ErrorCode::input naming the peak: a position that is missing or cannot be read, start >= end, a peak
// that stands twice, columns of which one or two are there.
Peaks peaks_of(const Table& var, const std::string& path);

// Peaks in BED order: order[i] is the peak that comes i-th. Ends decide between equal starts.
std::vector<int64_t> bed_order(const Peaks& peaks);

// The columns chrom, start, end of `var` become those of `peaks`.
void set_peak_columns(Table& var, const Peaks& peaks);

// Whether features say where they lie: in a column chrom, start or end, or in the first one's name. Scores (principal components, say) do not.
bool has_positions(const Table& var);

// What was measured, "rna" or "atac": as the preprocessing in `frozen` says; else peaks are features with chrom, start and end
// (genes with positions have a symbol, tss or strand too) or with names that are positions.
std::string modality_of(const Table& var, const Frozen& frozen);

// Features of `data` into BED order, their positions into var's columns. Returns how many stood elsewhere before.
template <class T, class Matrix>
int64_t sort_peaks(Dataset<T, Matrix>& data);

// Peaks within Frozen (arrays peak_chromosome, peak_start, peak_end; setting chromosomes), so that a model knows where its
// features lie. `frozen.features` are the peaks in the same order. Empty where it has none.
void store_peaks(Frozen& frozen, const Peaks& peaks);
Peaks stored_peaks(const Frozen& frozen);

}  // namespace panvae::data
