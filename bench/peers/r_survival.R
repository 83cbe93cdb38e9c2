# The survival benchmark by R's survival package and by panvae, on the same made-up patients: five folds of a Cox model (Efron,
# no penalty) and Harrell's C of the fold left out.
#   Rscript bench/peers/r_survival.R build/panvae [patients=11000] [covariates=100]
# Exits with 1 if log-likelihoods (1e-8 relative) or C (1e-8) differ. Debian: r-base-core, r-cran-survival.
library(survival)
arguments <- commandArgs(TRUE)
if (length(arguments) < 1) stop("usage: Rscript bench/peers/r_survival.R PANVAE [patients] [covariates]")
n <- if (length(arguments) > 1) as.integer(arguments[2]) else 11000
d <- if (length(arguments) > 2) as.integer(arguments[3]) else 100
set.seed(1)
x <- matrix(rnorm(n * d), n)
death <- rexp(n, exp(drop(x %*% rnorm(d, 0, 0.1))) / 2000)
lost <- runif(n, 1, 3000)
time <- ceiling(pmin(death, lost))
event <- as.integer(death <= lost)
fold <- sample(0:4, n, TRUE)
folder <- tempfile("panvae_survival")
dir.create(folder)
name <- sprintf("P%06d", seq_len(n))
write.table(data.frame(sample = name, x), file.path(folder, "x.tsv"), sep = "\t", quote = FALSE, row.names = FALSE)
write.table(data.frame(sample = name, os_time = time, os_event = event, fold = fold), file.path(folder, "obs.tsv"), sep = "\t", quote = FALSE, row.names = FALSE)
# Both take the numbers from the file.
x <- as.matrix(read.delim(file.path(folder, "x.tsv"), row.names = 1))

cat(sprintf("%d patients, %d covariates, %d died, five folds\n", n, d, sum(event)))
loglik <- harrell <- numeric(5)
fitting <- comparing <- system.time(NULL)
for (f in 0:4) {
  train <- fold != f
  fitting <- fitting + system.time(m <- coxph(Surv(time[train], event[train]) ~ x[train, ]))
  risk <- drop(x[!train, ] %*% coef(m))
  comparing <- comparing + system.time(cc <- concordance(Surv(time[!train], event[!train]) ~ risk, reverse = TRUE))
  loglik[f + 1] <- m$loglik[2]
  harrell[f + 1] <- cc$concordance
}
all <- system.time(concordance(Surv(time, event) ~ x[, 1], reverse = TRUE))
# Processor time where a machine is shared tells more than the clock.
seconds <- function(t) sprintf("%.2f s (processor %.2f s)", t["elapsed"], sum(t[c("user.self", "sys.self", "user.child", "sys.child")], na.rm = TRUE))
cat(sprintf("R %s, survival %s\n  coxph        %s\n  concordance  %s\n  concordance of all patients at once  %s\n", getRversion(),
            packageVersion("survival"), seconds(fitting), seconds(comparing), seconds(all)))
json <- file.path(folder, "panvae.json")
command <- c("evaluate", "survival", file.path(folder, "x.tsv"), "--obs", file.path(folder, "obs.tsv"), "--fold-key", "fold", "--on", "all", "--top-k", d, "--ridge",
             0, "--quiet", "--json", json)
whole <- system.time(status <- system2(arguments[1], command, stdout = FALSE))
if (status != 0) stop("panvae failed")
text <- paste(readLines(json), collapse = " ")
value <- function(key) as.numeric(sub(".*: *", "", regmatches(text, gregexpr(sprintf("\"%s\": *[-0-9.e+]+", key), text))[[1]]))
cat(sprintf("panvae\n  components, Cox, C, Brier score  %.2f s\n  the whole command, which reads the text  %s\n", tail(value("seconds"), 1), seconds(whole)))
# The components of all dimensions span the covariates: the models are the same.
wrong <- max(abs(value("loglik") / loglik - 1)) > 1e-8 || max(abs(value("harrell") - harrell)) > 1e-8
cat(sprintf("largest difference: loglik %.1e relative, C %.1e\n", max(abs(value("loglik") / loglik - 1)), max(abs(value("harrell") - harrell))))
unlink(folder, recursive = TRUE)
quit(status = if (wrong) 1 else 0)
