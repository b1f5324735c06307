# Writes wine.csv and ordinal.csv: Rscript ordinal.R
# Data: ordinal::wine (GPL-2 | GPL-3; Randall 1989). Proportional odds of five ratings.
library(ordinal)

data <- data.frame(rating = as.integer(wine$rating), response = wine$response, warm = as.integer(wine$temp == "warm"),
                   contact = as.integer(wine$contact == "yes"))
write.csv(data, "wine.csv", row.names = FALSE)
fit <- clm(factor(rating) ~ warm + contact, data = data, gradTol = 1e-10)
found <- coef(summary(fit))
rows <- data.frame(model = "clm", name = c(paste0("t", 1:4), "warm", "contact"), est = found[, 1], se = found[, 2])
rows <- rbind(rows, data.frame(model = "clm", name = "logl", est = c(logLik(fit)), se = NA))
test <- nominal_test(fit)
rows <- rbind(rows, data.frame(model = "nominal", name = rownames(test)[-1], est = test$LRT[-1], se = test[["Pr(>Chi)"]][-1]))
write.csv(rows, "ordinal.csv", row.names = FALSE)
cat(R.version.string, "\nordinal", as.character(packageVersion("ordinal")), "\n", file = "ordinal.versions.txt")
