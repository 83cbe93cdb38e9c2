# The test of differential expression by limma and by panvae, on the same made-up samples: observed and reconstructed log2
# values, the reconstruction shrunk towards the mean, one feature in ten shifted.
#   Rscript bench/peers/r_expression.R build/panvae [features=20000] [samples=100]
# Exits with 1 if a t, p or FDR differs by more than 1e-6 relative. limma's time is that of lmFit, eBayes and p.adjust on
# matrices in memory; panvae's that of the whole command on two .h5ad files: reading, the test, Spearman correlations, R2,
# the cohort-mean row and writing its table. Debian: r-base-core, r-bioc-limma. 562,709 features x 100 samples need about 8 GiB
# of memory and 1.5 GB in the temporary folder.
library(limma)
arguments <- commandArgs(TRUE)
if (length(arguments) < 1) stop("usage: Rscript bench/peers/r_expression.R PANVAE [features] [samples]")
g <- if (length(arguments) > 1) as.integer(arguments[2]) else 20000L
n <- if (length(arguments) > 2) as.integer(arguments[3]) else 100L
set.seed(1)
# Multiples of 1/1024 are the same number in text, in float32 and in doubles.
exact <- function(x) round(x * 1024) / 1024
centre <- runif(g, 0, 8)
spread <- sqrt(0.3 / rchisq(g, 6) * 6)
x <- exact(centre + spread * matrix(rnorm(g * n), g))
y <- exact(centre + 0.7 * (x - centre) + 0.3 * spread * matrix(rnorm(g * n), g) + (seq_len(g) %% 10 == 0) * rnorm(g))
folder <- tempfile("panvae_expression")
dir.create(folder)
write_samples <- function(m, name) {
  text <- file.path(folder, paste0(name, ".tsv"))
  out <- file(text, "w")
  writeLines(paste(c("sample", sprintf("F%06d", seq_len(g))), collapse = "\t"), out)
  for (i in seq_len(n)) writeLines(paste(c(sprintf("S%04d", i), m[, i]), collapse = "\t"), out)
  close(out)
  h5ad <- file.path(folder, paste0(name, ".h5ad"))
  if (system2(arguments[1], c("convert", "-o", h5ad, text, "--quiet"), stdout = FALSE) != 0) stop("panvae convert failed")
  unlink(text)
  h5ad
}
observed <- write_samples(x, "observed")
reconstructed <- write_samples(y, "reconstructed")

cat(sprintf("%d features, %d samples; R %s, limma %s\n", g, n, getRversion(), packageVersion("limma")))
groups <- cbind(1, rep(0:1, each = n))
tests <- list(
  paired = function() list(eBayes(lmFit(y - x)), 1),
  limma = function() list(eBayes(lmFit(cbind(x, y), groups)), 2),
  `limma-trend` = function() list(eBayes(lmFit(cbind(x, y), groups), trend = TRUE), 2)
)
worst <- 0
table <- file.path(folder, "de.tsv")
for (name in names(tests)) {
  theirs <- system.time({
    fit <- tests[[name]]()
    t <- fit[[1]]$t[, fit[[2]]]
    p <- fit[[1]]$p.value[, fit[[2]]]
    q <- p.adjust(p, "BH")
  })
  rm(fit)
  ours_whole <- system.time(status <- system2(arguments[1], c("evaluate", "expression", observed, reconstructed, "--test", name, "--table", table, "--quiet"),
                                         stdout = FALSE))
  if (status != 0) stop("panvae failed")
  ours <- read.delim(table)
  # Relative; a t of 0 is reached but for rounding.
  off <- function(a, b, least = 0) max(ifelse(a == b, 0, abs(a - b) / pmax(abs(b), least)))
  differences <- c(off(ours$t, t, 1e-6), off(ours$p, p), off(ours$fdr, q))
  worst <- max(worst, differences)
  cat(sprintf("%-12s limma %.2f s (processor %.2f), panvae with its table %.2f s (processor %.2f); largest relative difference: t %.1e, p %.1e, FDR %.1e\n", name,
              theirs["elapsed"], sum(theirs[c("user.self", "sys.self")]), ours_whole["elapsed"], sum(ours_whole[c("user.child", "sys.child")]), differences[1],
              differences[2], differences[3]))
}
unlink(folder, recursive = TRUE)
quit(status = if (worst > 1e-6) 1 else 0)
