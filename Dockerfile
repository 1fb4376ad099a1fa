# On a CPU:           docker build -t resdex .
#                     docker run --rm -v "$PWD/runs:/resdex/runs" resdex task=ResDexHyper
# On an NVIDIA GPU:   docker build -t resdex-gpu --build-arg EXTRAS=[warp] .
#                     docker run --rm --gpus all -v "$PWD/runs:/resdex/runs" resdex-gpu task=ResDexHyper
# torch brings its own CUDA libraries; the driver comes from the host (NVIDIA Container Toolkit).
FROM python:3.11-slim
WORKDIR /resdex
RUN pip install --no-cache-dir torch==2.13.0
COPY . .
ARG EXTRAS=
RUN pip install --no-cache-dir -e ".${EXTRAS}"
ENTRYPOINT ["python", "train.py"]
CMD ["--list"]
