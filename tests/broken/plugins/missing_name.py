from graphexec.plugin import elementwize
