// Whether the names of a text table say what its rows are: tables of counts are mostly published with genes in rows.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace panvae::data {

// ENSG00000141510, ENSMUSG00000059552.14, ENST..., ENSP...: letters of the species and of the kind, and eleven digits.
bool is_ensembl_id(std::string_view name);

// A line that htseq-count or STAR writes beside the genes (__no_feature, N_unmapped, ...): reads that belong to none.
bool is_tally(std::string_view name);

// What Excel makes of genes such as MARCHF1 and SEPTIN2: 1-Mar, 2-Sep.
bool is_date(std::string_view name);

// A column that names features: gene_id, Hugo_Symbol, peak, ... in any spelling.
bool names_features(std::string_view column);
// One that describes them, in tables of counts between the name and the samples: gene_type, Description, Length, strand, ...
bool describes_features(std::string_view column);
// Letters, made small, and digits alone: names of columns are compared so.
std::string letters_of(std::string_view text);
// What people write over a column of names, be they of features or of samples: one of the above, "Sample ID", "patient", "Unnamed: 0", ...
bool heads_names(std::string_view column);
// A name that a gene, a peak or a tally has, and no column of names: where it stands over the names of rows, the table has no first row.
bool is_feature_name(std::string_view name);

// "are named like genes (such as 'ACTB')": what names of features show; empty where they may be any.
std::string named_like_features(std::span<const std::string> names);

// Why the rows of a table are features and not samples, for an error message ("its first column is called 'gene_id'"); empty where
// nothing says so. They are where the cell over their names says it (gene, Geneid, Hugo_Symbol, peak, ...), where most of them are
// Ensembl identifiers or places on the genome (chr1:100-600), or where four of a dozen genes that every experiment measures are among
// them; unless the columns are named like that. `rows` may be empty: the corner alone then speaks.
std::string rows_are_features_because(const std::string& corner, std::span<const std::string> rows, std::span<const std::string> columns);

}  // namespace panvae::data
