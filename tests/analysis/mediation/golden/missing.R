# Writes holes.csv and missing.csv: Rscript missing.R
# Data: school.csv (of joint_and_clusters.R: MASS::nlschools), with cells taken out: by the outcome for `iq`, by rows else.
library(lavaan)
library(mice, warn.conflicts = FALSE)

holes <- read.csv("school.csv")[1:300, c("ses", "iq", "size", "lang", "multi")]
holes$ses <- holes$ses / 10
holes$lang <- holes$lang / 10
holes$size <- holes$size / 10
order <- rank(holes$lang, ties.method = "first")
holes$iq[order < 200 & seq_len(300) %% 3 == 0] <- NA
holes$size[seq_len(300) %% 7 == 0] <- NA
holes$ses[seq_len(300) %% 11 == 0] <- NA
holes$lang[seq_len(300) %% 17 == 0] <- NA
write.csv(holes, "holes.csv", row.names = FALSE, na = "")
rows <- list()
add <- function(model, name, est, se = NA) rows[[length(rows) + 1]] <<- data.frame(model, name, est, se)

two <- "iq ~ a1*ses + multi\n size ~ a2*ses + multi\n lang ~ b1*iq + b2*size + c*ses + multi\n"
models <- list(free = paste0(two, "iq ~~ size\n"), none = paste0(two, "iq ~~ 0*size\n"))
for (name in names(models)) {
  text <- paste0(models[[name]], "i1 := a1*b1\n i2 := a2*b2\n ind := i1 + i2\n tot := c + ind")
  fit <- sem(text, holes, missing = "fiml", fixed.x = FALSE)
  found <- parameterEstimates(fit)
  found$label[found$lhs == "iq" & found$op == "~~" & found$rhs == "iq"] <- "iq~~iq"
  found$label[found$lhs == "iq" & found$op == "~~" & found$rhs == "size"] <- "iq~~size"
  found <- subset(found, label != "" & !(is.na(se) | se == 0))
  for (i in seq_len(nrow(found))) add(name, found$label[i], found$est[i], found$se[i])
  for (measure in c("logl", "chisq", "df")) add(name, measure, fitMeasures(fit, measure)[[1]])
}
pooled <- pool.scalar(c(0.5, 0.62, 0.41, 0.55, 0.47), c(0.04, 0.05, 0.03, 0.045, 0.04), n = 60, k = 3)
for (name in c("qbar", "ubar", "b", "t", "df", "fmi")) add("pool", name, pooled[[name]][1])
write.csv(do.call(rbind, rows), "missing.csv", row.names = FALSE)
cat(R.version.string, "\n", file = "missing.versions.txt")
for (name in c("lavaan", "mice"))
  cat(name, as.character(packageVersion(name)), "\n", file = "missing.versions.txt", append = TRUE)
