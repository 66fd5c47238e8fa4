"""Programs that run on the hosts, sent over standard input (`runbooks.database.session`) and never installed.

They import the standard library and each other, and on a database host pymysql, which its role brings.
"""
