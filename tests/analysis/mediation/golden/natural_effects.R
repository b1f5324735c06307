# Writes birthwt.csv and natural_effects.csv: Rscript natural_effects.R
# Data: MASS::birthwt (GPL-2 | GPL-3; Hosmer and Lemeshow 1989). Exposure smoke, mediator lwt, outcome low.
# The mediator is integrated over by integrate(), patient by patient.
library(MASS)
library(sandwich)

birthwt$group <- rep(1:27, each = 7)  # patients in rows of seven: clusters for the sandwich
write.csv(birthwt, "birthwt.csv", row.names = FALSE)
birthwt$race <- factor(birthwt$race)
n <- nrow(birthwt)
rows <- list()
add <- function(model, name, est, se = NA) rows[[length(rows) + 1]] <<- data.frame(model, name, est, se)

for (link in c("logit", "probit")) for (interaction in c(FALSE, TRUE)) for (covariates in c("", " + age + race")) {
  formula <- paste0("low ~ smoke ", if (interaction) "*" else "+", " lwt", covariates)
  of_y <- glm(as.formula(formula), binomial(link), birthwt, control = glm.control(epsilon = 1e-14, maxit = 100))
  of_m <- lm(as.formula(paste0("lwt ~ smoke", covariates)), birthwt)
  sd <- sqrt(sum(residuals(of_m)^2) / n)
  probability <- function(x, x_of_mediator) {
    values <- function(smoke) { data <- birthwt; data$smoke <- smoke; data }
    center <- predict(of_m, values(x_of_mediator))
    at <- values(x)
    at$lwt <- 0
    zero <- predict(of_y, at)
    at$lwt <- 1
    slope <- predict(of_y, at) - zero
    cdf <- if (link == "logit") plogis else pnorm
    mean(mapply(function(center, zero, slope)
      integrate(function(z) cdf(zero + slope * (center + sd * z)) * dnorm(z), -9, 9, rel.tol = 1e-10)$value, center, zero, slope))
  }
  both <- probability(1, 1); neither <- probability(0, 0); direct <- probability(1, 0); indirect <- probability(0, 1)
  model <- paste0(link, if (interaction) "_interaction" else "", if (covariates != "") "_covariates" else "")
  add(model, "indirect", both - direct)
  add(model, "direct", direct - neither)
  add(model, "total", both - neither)
  add(model, "pure_indirect", indirect - neither)
  add(model, "total_direct", both - indirect)
  if (interaction) add(model, "interaction", coef(of_y)[["smoke:lwt"]], sqrt(vcov(of_y)["smoke:lwt", "smoke:lwt"]))
  if (!interaction) {
    add(model, "b", coef(of_y)[["lwt"]], sqrt(vcov(of_y)["lwt", "lwt"]))
    add(paste0(model, "_cluster"), "b", coef(of_y)[["lwt"]],
        sqrt(vcovCL(of_y, birthwt$group, type = "HC0", cadjust = TRUE)["lwt", "lwt"]))
  }
}
write.csv(do.call(rbind, rows), "natural_effects.csv", row.names = FALSE)
cat(R.version.string, "\n", file = "natural_effects.versions.txt")
for (name in c("MASS", "sandwich"))
  cat(name, as.character(packageVersion(name)), "\n", file = "natural_effects.versions.txt", append = TRUE)
