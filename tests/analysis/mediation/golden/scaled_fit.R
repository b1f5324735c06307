# Writes scaled_fit.csv: Rscript scaled_fit.R
# Data: school.csv (of joint_and_clusters.R). Chi-square and fit measures of path models scaled for non-normality
# (MLR) and for clusters, by lavaan's sem().
library(lavaan)

school <- read.csv("school.csv")
school$size <- school$size + 0.3 * school$iq
models <- list(none = "iq ~ ses + multi\n size ~ ses + multi\n lang ~ iq + size + ses + multi",
               paths = "iq ~ ses\n size ~ multi\n iq ~~ size\n lang ~ iq + size + ses + multi")
wanted <- c("chisq.scaled", "df", "chisq.scaling.factor", "pvalue.scaled", "cfi.scaled", "tli.scaled", "rmsea.scaled")
rows <- list()
for (name in names(models)) for (kind in c("robust", "cluster")) {
  fit <- if (kind == "robust") sem(models[[name]], school, estimator = "MLR", observed.information = "h1") else
    sem(models[[name]], school, cluster = "class")
  found <- fitMeasures(fit, wanted)
  rows[[length(rows) + 1]] <- data.frame(model = paste(name, kind, sep = "_"), name = sub(".scaled", "", names(found), fixed = TRUE),
                                         est = as.numeric(found), se = NA)
}
write.csv(do.call(rbind, rows), "scaled_fit.csv", row.names = FALSE)
cat(R.version.string, "\nlavaan", as.character(packageVersion("lavaan")), "\n", file = "scaled_fit.versions.txt")
