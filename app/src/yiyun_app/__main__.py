"""`python -m yiyun_app`."""

from yiyun_app.command import main

main()
