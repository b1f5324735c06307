# Writes moderated.csv: Rscript moderated.R
# Data: school.csv (of joint_and_clusters.R). ses acts on lang by iq, covariate multi, and size moderates the paths;
# PROCESS models 7, 14, 58 and 59 as two regressions with lm(), errors of maximum likelihood and vcovCL() type errors
# of classes; model 7 by lavaan, too. `cut` is size in two values, `third` in three categories.
library(sandwich)
library(lavaan)

school <- read.csv("school.csv")
school$third <- c("low", "mid", "top")[cut(school$size, c(-Inf, 24, 28, Inf), labels = FALSE)]
n <- nrow(school)
rows <- list()
models <- list(first = c("iq ~ multi + ses * size", "lang ~ multi + ses + iq"),
               second = c("iq ~ multi + ses", "lang ~ multi + ses + iq * size"),
               both = c("iq ~ multi + ses * size", "lang ~ multi + ses + iq * size"),
               all = c("iq ~ multi + ses * size", "lang ~ multi + ses * size + iq * size"))
values <- mean(school$size) + c(-1, 0, 1) * sd(school$size)

add <- function(model, name, f, theta, covariance, kind) {
  gradient <- sapply(seq_along(theta), function(i) {
    h <- replace(numeric(length(theta)), i, 1e-5 * max(1, abs(theta[[i]])))
    (f(theta + h) - f(theta - h)) / (2 * h[i])
  })
  rows[[length(rows) + 1]] <<- data.frame(model = paste(model, kind, sep = "_"), name, est = f(theta),
                                          se = c(sqrt(gradient %*% covariance %*% gradient)))
}
pick <- function(theta, name) { # "y.iq:size" may be called "y.size:iq"
  found <- intersect(c(name, sub("^(..)(.+):(.+)$", "\\1\\3:\\2", name)), names(theta))
  if (length(found)) theta[[found]] else 0
}
for (model in names(models)) {
  fits <- lapply(models[[model]], function(f) lm(formula(f), school))
  theta <- unlist(Map(function(fit, of) setNames(coef(fit), paste0(of, names(coef(fit)))), fits, c("m.", "y.")))
  plain <- as.matrix(Matrix::bdiag(lapply(fits, function(fit) vcov(fit) * df.residual(fit) / n)))
  moved <- do.call(cbind, lapply(fits, function(fit) estfun(fit) %*% bread(fit) / n))
  summed <- rowsum(moved, school$class)
  clusters <- nrow(summed)
  kinds <- list(plain = plain, cluster = crossprod(summed) * clusters / (clusters - 1))
  a <- function(t, w) pick(t, "m.ses") + pick(t, "m.ses:size") * w
  b <- function(t, w) pick(t, "y.iq") + pick(t, "y.iq:size") * w
  for (kind in names(kinds)) {
    for (i in 1:3) {
      add(model, paste0("indirect", i), function(t) a(t, values[i]) * b(t, values[i]), theta, kinds[[kind]], kind)
      if (model == "all") add(model, paste0("direct", i), function(t) pick(t, "y.ses") + pick(t, "y.ses:size") * values[i],
                              theta, kinds[[kind]], kind)
    }
    index <- switch(model, first = function(t) pick(t, "m.ses:size") * b(t, 0), second = function(t) a(t, 0) * pick(t, "y.iq:size"),
                    function(t) (a(t, values[3]) * b(t, values[3]) - a(t, values[1]) * b(t, values[1])) / (values[3] - values[1]))
    add(model, "index", index, theta, kinds[[kind]], kind)
  }
}
# Categories, both paths: the difference to the most frequent one.
reference <- names(which.max(table(school$third)))
school$third <- relevel(factor(school$third), reference)
fits <- list(lm(iq ~ multi + ses * third, school), lm(lang ~ multi + ses + iq * third, school))
theta <- unlist(Map(function(fit, of) setNames(coef(fit), paste0(of, names(coef(fit)))), fits, c("m.", "y.")))
plain <- as.matrix(Matrix::bdiag(lapply(fits, function(fit) vcov(fit) * df.residual(fit) / n)))
of <- function(t, k) (t[["m.ses"]] + pick(t, paste0("m.ses:third", k))) * (t[["y.iq"]] + pick(t, paste0("y.iq:third", k)))
for (k in levels(school$third)) add("third", paste0("indirect_", k), function(t) of(t, k), theta, plain, "plain")
for (k in levels(school$third)[-1])
  add("third", paste0("index_", k), function(t) of(t, k) - of(t, reference), theta, plain, "plain")
# Model 7 by lavaan.
school$product <- school$ses * school$size
text <- "iq ~ a*ses + size + aw*product + multi\n lang ~ b*iq + ses + multi\n index := aw*b"
text <- paste0(text, paste0("\n indirect", 1:3, " := (a + aw*", format(values, digits = 15), ")*b", collapse = ""))
found <- subset(parameterEstimates(sem(text, school, meanstructure = TRUE)), op == ":=")
rows[[length(rows) + 1]] <- data.frame(model = "lavaan_first", name = found$label, est = found$est, se = found$se)
write.csv(do.call(rbind, rows), "moderated.csv", row.names = FALSE)
cat(R.version.string, "\n", file = "moderated.versions.txt")
for (name in c("sandwich", "lavaan"))
  cat(name, as.character(packageVersion(name)), "\n", file = "moderated.versions.txt", append = TRUE)
