# Writes ordinal_effects.csv: Rscript ordinal_effects.R
# Data: school.csv (of joint_and_clusters.R). Natural effects of ses on four levels of lang by iq, covariate multi: the
# mediator's lm(), the outcome's ordinal::clm(), integrate() over the mediator, the delta method by numDeriv.
library(ordinal)
library(numDeriv)

school <- read.csv("school.csv")
school$level <- cut(school$lang, c(-Inf, 30, 40, 48, Inf), labels = FALSE)
of_m <- lm(iq ~ multi + ses, school)
of_y <- clm(factor(level) ~ multi + ses + iq, data = school, gradTol = 1e-12)
n <- nrow(school)
s <- sqrt(mean(resid(of_m)^2))
theta <- c(coef(of_m), log(s), coef(of_y))
covariance <- matrix(0, length(theta), length(theta))
covariance[1:3, 1:3] <- vcov(of_m) * (n - 3) / n # maximum likelihood
covariance[4, 4] <- 1 / (2 * n)
covariance[5:10, 5:10] <- vcov(of_y)
values <- mean(school$ses) + c(-0.5, 0.5) * sqrt(mean((school$ses - mean(school$ses))^2))
share <- mean(school$multi)

at_least <- function(theta, j, x, of_m) {
  of_multi <- function(multi) {
    center <- theta[1] + theta[2] * multi + theta[3] * of_m
    p <- function(z) dnorm(z) * plogis(theta[8] * multi + theta[9] * x + theta[10] * (center + exp(theta[4]) * z) - theta[4 + j])
    integrate(p, -10, 10, rel.tol = 1e-11)$value
  }
  (1 - share) * of_multi(0) + share * of_multi(1)
}
reach <- function(theta, j) {
  if (j == 0 || j == 4) return(c(0, 0, 0))
  both <- at_least(theta, j, values[2], values[2])
  crossed <- at_least(theta, j, values[2], values[1])
  neither <- at_least(theta, j, values[1], values[1])
  c(both - crossed, crossed - neither, both - neither)
}
rows <- list()
add <- function(event, level, f) {
  se <- sqrt(diag(jacobian(f, theta) %*% covariance %*% t(jacobian(f, theta))))
  rows[[length(rows) + 1]] <<- data.frame(model = event, name = paste0(c("indirect", "direct", "total"), level), est = f(theta), se)
}
for (j in 1:3) add("or higher", j + 1, function(theta) reach(theta, j))
for (j in 0:3) add("alone", j + 1, function(theta) reach(theta, j) - reach(theta, j + 1))
write.csv(do.call(rbind, rows), "ordinal_effects.csv", row.names = FALSE)
cat(R.version.string, "\n", file = "ordinal_effects.versions.txt")
for (name in c("ordinal", "numDeriv"))
  cat(name, as.character(packageVersion(name)), "\n", file = "ordinal_effects.versions.txt", append = TRUE)
