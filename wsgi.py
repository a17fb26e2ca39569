"""The dashboard for a WSGI server: `gunicorn wsgi:app`, `flask --app wsgi ...`."""

from webapp.start import app_or_exit

app = app_or_exit()
