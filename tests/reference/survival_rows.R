# Writes tests/reference/stats/survival_ties.tsv, made-up patients whose times are tied as heavily as months are, and
# survival_ties_expected.tsv, what R's survival package says of them. Run in the root of the repository:
#   Rscript tests/reference/survival_rows.R          (Debian: r-base-core, r-cran-survival; made with survival 3.5-3, R 4.2.2)
library(survival)
set.seed(20240917)
n <- 150
d <- data.frame(sample = sprintf("P%03d", 1:n), age = round(rnorm(n, 60, 9)), marker = round(rnorm(n), 2), treated = rbinom(n, 1, 0.4),
                group = sample(0:2, n, TRUE, c(0.5, 0.3, 0.2)), site = sample(0:1, n, TRUE))
death <- rexp(n, 0.05 * exp(0.03 * (d$age - 60) + 0.5 * d$marker - 0.6 * d$treated + 0.4 * (d$group == 2)))
lost <- runif(n, 2, 40)
d$time <- pmax(1, ceiling(pmin(death, lost)))
d$event <- as.integer(death <= lost)
d$risk <- round(0.03 * d$age + 0.4 * d$marker + rnorm(n, 0, 0.5), 1)  # tied too
write.table(d, "tests/reference/stats/survival_ties.tsv", sep = "\t", quote = FALSE, row.names = FALSE)

keys <- character(); values <- character()
put <- function(key, value) {
  name <- if (length(value) == 1) key else paste0(key, ".", seq_along(value) - 1)
  keys <<- c(keys, name); values <<- c(values, sprintf("%.15g", value))
}
y <- Surv(d$time, d$event)
control <- coxph.control(eps = 1e-13, toler.chol = 1e-14, iter.max = 50)
put_cox <- function(key, m) {
  put(paste0(key, ".coefficient"), unname(coef(m))); put(paste0(key, ".se"), sqrt(diag(m$var))); put(paste0(key, ".loglik"), m$loglik[2])
}
efron <- coxph(y ~ age + marker + treated, d, control = control)
put_cox("efron", efron)
put("efron.loglik_null", efron$loglik[1])
put_cox("breslow", coxph(y ~ age + marker + treated, d, ties = "breslow", control = control))
put_cox("strata", coxph(y ~ age + marker + treated + strata(site), d, control = control))
ridge <- coxph(y ~ ridge(age, marker, treated, theta = 10, scale = FALSE), d, control = control)
put("ridge.coefficient", unname(coef(ridge))); put("ridge.se", sqrt(diag(ridge$var)))
h <- survfit(efron, newdata = data.frame(age = mean(d$age), marker = mean(d$marker), treated = mean(d$treated)))
put("hazard.time", h$time); put("hazard.cumulative", h$cumhaz)

c_of <- function(key, ...) put(key, concordance(..., data = d, reverse = TRUE)$concordance)
c_of("harrell", y ~ risk)
c_of("harrell_strata", y ~ risk + strata(site))
c_of("uno", y ~ risk, timewt = "n/G2")
c_of("uno_ymax15", y ~ risk, timewt = "n/G2", ymax = 15)
count <- concordance(y ~ risk, data = d, reverse = TRUE)$count
put("count", unname(count[c("concordant", "discordant", "tied.x", "tied.y", "tied.xy")]))

km <- survfit(y ~ 1)
put("km.time", km$time); put("km.at_risk", km$n.risk); put("km.events", km$n.event); put("km.survival", km$surv)
put("km.se", km$std.err * km$surv); put("km.lower", km$lower); put("km.upper", km$upper); put("km.median", unname(summary(km)$table["median"]))
test <- survdiff(y ~ group, d)
put("logrank.observed", test$obs); put("logrank.expected", test$exp); put("logrank.chisq", test$chisq)
put("logrank.p", pchisq(test$chisq, 2, lower.tail = FALSE))
stratified <- survdiff(y ~ group + strata(site), d)
put("logrank_strata.chisq", stratified$chisq); put("logrank_strata.expected", rowSums(stratified$exp))
put("pchisq_300_7", pchisq(300, 7, lower.tail = FALSE)); put("pchisq_0.3_1", pchisq(0.3, 1, lower.tail = FALSE))
put("pchisq_2.5_4", pchisq(2.5, 4, lower.tail = FALSE))
put("quantile", unname(quantile(d$time[d$event == 1], 0.9)))
write.table(data.frame(key = keys, value = values), "tests/reference/stats/survival_ties_expected.tsv", sep = "\t", quote = FALSE, row.names = FALSE)
