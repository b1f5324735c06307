# Writes school.csv and joint_and_clusters.csv: Rscript joint_and_clusters.R
# Data: MASS::nlschools (GPL-2 | GPL-3; Snijders and Bosker 1999), the first 40 classes with columns of this test.
library(MASS)
library(sandwich)
library(lavaan)

school <- subset(nlschools, class %in% levels(class)[1:40])
school <- data.frame(class = as.character(school$class), ses = school$SES, iq = school$IQ, size = school$GS,
                     lang = school$lang, multi = as.integer(school$COMB == "1"))
school$weight <- 1 + (seq_len(nrow(school)) %% 4) / 2
write.csv(school, "school.csv", row.names = FALSE)
rows <- list()
add <- function(model, name, est, se) rows[[length(rows) + 1]] <<- data.frame(model, name, est, se)
add_lm <- function(model, fit, variable, covariance)
  add(model, paste0(deparse(formula(fit)[[2]]), "~", variable), coef(fit)[[variable]], sqrt(covariance[variable, variable]))

# One mediator, covariate `multi`: sandwich errors of each regression.
for (weighted in c(FALSE, TRUE)) {
  w <- if (weighted) school$weight else rep(1, nrow(school))
  of_m <- lm(iq ~ ses + multi, school, weights = w)
  of_y <- lm(lang ~ ses + multi + iq, school, weights = w)
  of_t <- lm(lang ~ ses + multi, school, weights = w)
  ending <- if (weighted) "_weighted" else ""
  for (kind in c("robust", "cluster")) {
    covariance <- function(fit) if (kind == "robust") vcovHC(fit, "HC0") else
      vcovCL(fit, school$class, type = "HC0", cadjust = TRUE)
    add_lm(paste0(kind, ending), of_m, "ses", covariance(of_m))
    add_lm(paste0(kind, ending), of_y, "iq", covariance(of_y))
    add_lm(paste0(kind, ending), of_y, "ses", covariance(of_y))
    add_lm(paste0(kind, "_total", ending), of_t, "ses", covariance(of_t))
  }
}
# Indirect effects, for one mediator and two, by lavaan: ML and Huber-White errors.
one <- "iq ~ a*ses + multi\n lang ~ b*iq + c*ses + multi\n indirect := a*b\n total := c + a*b"
two <- paste("iq ~ a1*ses + multi\n size ~ a2*ses + multi\n lang ~ b1*iq + b2*size + c*ses + multi\n iq ~~ size",
             "indirect := a1*b1 + a2*b2\n total := c + a1*b1 + a2*b2", sep = "\n")
for (name in c("one", "two")) for (kind in c("standard", "robust.huber.white")) {
  fit <- sem(get(name), school, se = kind, meanstructure = TRUE)
  found <- subset(parameterEstimates(fit), label %in% c("a", "b", "c", "indirect", "total"))
  for (i in seq_len(nrow(found))) add(paste0("lavaan_", name, "_", kind), found$label[i], found$est[i], found$se[i])
}
write.csv(do.call(rbind, rows), "joint_and_clusters.csv", row.names = FALSE)
cat(R.version.string, "\n", file = "joint_and_clusters.versions.txt")
for (name in c("MASS", "sandwich", "lavaan"))
  cat(name, as.character(packageVersion(name)), "\n", file = "joint_and_clusters.versions.txt", append = TRUE)
